"""Each rule of stores and repository has tests that bite: its guard is taken out of a copy of
drkit, and then a test that carries the rule's number must fail.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[3]
UNIT = "tests/unit/repository"


@dataclass(frozen=True)
class Guard:
    """`without` stands where `text` stood in `file`; then some test of `rule` in `tests` fails."""

    rule: str
    file: str
    text: str
    without: str
    tests: str


GUARDS = [
    Guard(
        "S1",
        "repository/copies/copying.py",
        "if hashlib.sha256(content).hexdigest() == wanted:",
        "if True:",
        f"{UNIT}/backup/test_stores_in_one_pass.py",
    ),
    Guard(
        "S2",
        "repository/backup/archive.py",
        "if copies < min_copies:",
        "if False:",
        f"{UNIT}/backup/test_stores_in_one_pass.py",
    ),
    Guard(
        "S3",
        "repository/copies/upload.py",
        "if self.queue and not (self.queue[0].after_all and self.sending):",
        "if self.queue:",
        f"{UNIT}/copies/test_fan_out.py",
    ),
    Guard(
        "S4",
        "repository/levels/catch_up.py",
        "            continue\n        if copied:",
        "            copied = 0\n        if copied:",
        f"{UNIT}/backup/test_stores_in_one_pass.py",
    ),
    Guard(
        "S5",
        "repository/levels/catch_up.py",
        'and not tombstones.covers("snapshot", snapshot, store.name)\n        and (snapshot',
        "and (snapshot",
        f"{UNIT}/forget/test_deletions.py",
    ),
    Guard(
        "S6",
        "repository/prune/prune.py",
        "if missing := {name: why for name, why in reasons.items() if name not in evicted}:",
        "if missing := dict[str, str]():",
        f"{UNIT}/prune/test_pruning_in_turns.py",
    ),
    Guard(
        "S7",
        "repository/levels/levelling.py",
        "elif gone and own and others:",
        "elif False:",
        f"{UNIT}/heal/test_reconciling.py",
    ),
    Guard(
        "S8",
        "repository/create.py",
        "    if present:\n        return _complete",
        "    if False:\n        return _complete",
        f"{UNIT}/backup/test_stores_in_one_pass.py",
    ),
    Guard(
        "S9",
        "repository/backup/archive.py",
        "        _drop_unlocked(locks, fan_out)",
        "        pass",
        f"{UNIT}/locks/test_locking.py",
    ),
    Guard(
        "S10",
        "pace.py",
        "            self._heard_s + self._deadline.total_s / 2 - now_s,\n",
        "",
        "tests/unit/io/test_pace.py",
    ),
    Guard(
        "S11",
        "repository/format/blob.py",
        "if hashlib.sha256(content).digest() != blob_id:",
        "if False:",
        f"{UNIT}/test_reading.py",
    ),
    Guard(
        "S12",
        "repository/create.py",
        "if any(_holds_data(store) for store in present):",
        "if False:",
        f"{UNIT}/test_creating.py",
    ),
    Guard(
        "S13",
        "repository/forget/retaining.py",
        "if until is not None and until - now >= period / 2:",
        "if until is not None:",
        f"{UNIT}/forget/test_retaining.py",
    ),
    Guard(
        "S14",
        "points/find.py",
        "if role is None or found.point.epoch >= role.epoch:",
        "if True:",
        "tests/unit/points/test_find.py",
    ),
    Guard(
        "K6",
        "repository/prune/decision.py",
        "for pack in kept.keys() & must_go:",
        "for pack in set[str]():",
        f"{UNIT}/erase/test_erasing.py",
    ),
    Guard(
        "K6",
        "repository/restore/lawful.py",
        "    if not erased:\n        return wanted\n",
        "    return wanted\n",
        f"{UNIT}/erase/test_erasing.py",
    ),
]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drkit and its tests, to be broken."""
    root = tmp_path_factory.mktemp("copy")
    for name in ("drkit", "tests"):
        left_out = shutil.ignore_patterns("__pycache__")
        shutil.copytree(PROJECT / name, root / name, ignore=left_out)
    shutil.copy(PROJECT / "pyproject.toml", root)
    return root


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: f"{guard.rule}-{Path(guard.file).stem}")
def test_every_guard_is_where_it_is_taken_out_and_its_tests_are_there(guard: Guard) -> None:
    assert (PROJECT / "drkit" / guard.file).read_text().count(guard.text) >= 1
    assert f"def test_{guard.rule}_" in (PROJECT / guard.tests).read_text()


@pytest.mark.soak
@pytest.mark.timeout(300)
@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: f"{guard.rule}-{Path(guard.file).stem}")
def test_without_its_guard_the_tests_of_a_rule_fail(guard: Guard, copy: Path) -> None:
    file = copy / "drkit" / guard.file
    whole = file.read_text()
    file.write_text(whole.replace(guard.text, guard.without, 1))
    try:
        said = run_tests(guard, copy)
    finally:
        file.write_text(whole)
    assert said.returncode == 1, f"nothing notices: {said.stdout}"
    assert f"test_{guard.rule}_" in said.stdout


def run_tests(guard: Guard, copy: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"),
            *(guard.tests, "-k", f"test_{guard.rule}_"),
        ],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )
