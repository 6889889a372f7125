"""Every test: seeded, no socket in tests/unit, no file outside .drkit, no silent skip."""

from __future__ import annotations

import importlib
import os
import random
import shutil
import socket
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import hypothesis
import pytest

TESTS = Path(__file__).resolve().parent
PROJECT = TESTS.parent
sys.path.insert(0, str(TESTS / "tools"))  # servers and makers that several suites share
PROGRAM_FOLDERS = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])

hypothesis.settings.register_profile("drkit", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("drkit")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--declared-skips",
        action="store_true",
        help="fail when a test is skipped that tests/skips.toml does not list",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Temporary files go below .drkit; each process has its own folder, removed at its end."""
    if not config.option.basetemp:
        folder = PROJECT / ".drkit" / "tests" / f"tmp-{os.getpid()}"
        folder.mkdir(parents=True, exist_ok=True)
        config.option.basetemp = str(folder / "pytest")
        os.environ["TMPDIR"] = str(folder)
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


def missing_programs(names: tuple[str, ...] | list[str]) -> list[str]:
    return [name for name in names if shutil.which(name, path=PROGRAM_FOLDERS) is None]


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("needs"):
        if missing := missing_programs(mark.args):
            pytest.skip(f"not installed: {', '.join(missing)}")


_skipped: list[str] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped and not hasattr(report, "wasxfail"):
        _skipped.append(report.nodeid)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if not session.config.getoption("--declared-skips"):
        return
    undeclared = undeclared_skips(_skipped)
    if undeclared and session.exitstatus == 0:
        session.exitstatus = 1


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if terminalreporter.config.getoption("--declared-skips"):
        for test in undeclared_skips(_skipped):
            terminalreporter.write_line(f"skipped, but not in tests/skips.toml: {test}", red=True)


def undeclared_skips(skipped: list[str]) -> list[str]:
    """Those that no entry of tests/skips.toml allows on this machine."""
    entries = tomllib.loads((TESTS / "skips.toml").read_text()).get("skip", [])
    allowed = tuple(
        entry["test"]
        for entry in entries
        if "needs" not in entry or missing_programs(entry["needs"])
    )
    return [test for test in skipped if not test.startswith(allowed)]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    random.seed(20260101)


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the person who runs the tests reaches them."""
    for name in list(os.environ):
        if name.startswith(("DRKIT_", "RESTIC_", "AWS_", "B2_", "GOOGLE_")):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _no_sockets_in_unit_tests(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not request.path.is_relative_to(TESTS / "unit"):
        return

    def refuse(_self: socket.socket, address: object) -> None:
        raise AssertionError(f"a unit test reached for the network: {address}")

    for method in ("connect", "connect_ex", "bind"):
        monkeypatch.setattr(socket.socket, method, refuse)


@pytest.fixture(scope="session")
def kit() -> ModuleType:
    """The repository kit of tests/tools."""
    return importlib.import_module("repository_kit")


def restic_binaries() -> list[Path]:
    """Every restic there is: the installed one, and the newer one below .drkit/tools."""
    found = [Path(path)] if (path := shutil.which("restic")) else []
    return found + sorted(PROJECT.glob(".drkit/tools/restic-*/usr/bin/restic"))


def _restic_id(binary: Path | None) -> str:
    if binary is None:
        return "none"
    return binary.parts[-4] if binary.is_relative_to(PROJECT) else "installed"


@pytest.fixture(params=restic_binaries() or [None], ids=_restic_id)
def restic(request: pytest.FixtureRequest) -> Path:
    """A stock restic; the test runs once with each."""
    if request.param is None:
        pytest.skip("not installed: restic")
    return request.param
