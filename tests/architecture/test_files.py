"""What can be seen of every file: its length, its purity, and that it gives nothing away."""

import ast
import re
import subprocess
import tomllib

import pytest
from source_tree import PROJECT, imports, modules, parsed

MOST_LINES = 400
MOST_METHODS = 6

# These decide and compute; the world comes to them as arguments.
PURE = (
    "drkit/cli/terminal/meter.py",
    "drkit/cli/terminal/printable.py",
    "drkit/config/cron.py",
    "drkit/config/problems.py",
    "drkit/config/references.py",
    "drkit/config/regions.py",
    "drkit/config/schema_walk.py",
    "drkit/config/secret_forms.py",
    "drkit/errors.py",
    "drkit/events.py",
    "drkit/health/measures/default_limits.py",
    "drkit/health/dialects.py",
    "drkit/health/measures/history.py",
    "drkit/health/measures/limits.py",
    "drkit/health/scrape.py",
    "drkit/health/table.py",
    "drkit/health/measures/window.py",
    "drkit/operations/readiness/doctor_rules.py",
    "drkit/operations/alerts/measures.py",
    "drkit/repository/format/quoting.py",
    "drkit/repository/format/snapshot.py",
    "drkit/repository/format/tree.py",
    "drkit/runs/by_hand/steps.py",
    "drkit/runs/by_hand/machines.py",
    "drkit/runs/by_hand/words.py",
    "drkit/runs/book/critical_path.py",
    "drkit/runs/evidence/build.py",
    "drkit/runs/steering/fenced.py",
    "drkit/runs/book/graph.py",
    "drkit/runs/lints/lost.py",
    "drkit/runs/lints/places.py",
    "drkit/runs/lints/steps.py",
    "drkit/runs/lints/values.py",
    "drkit/runs/lints/check.py",
    "drkit/runs/book/plan.py",
    "drkit/runs/states.py",
    "drkit/sandbox/mapping.py",
    "drkit/service/jobs.py",
    "drkit/units.py",
)
IMPURE_IMPORTS = {
    *("os", "socket", "subprocess", "threading", "time", "shutil", "tempfile", "random", "io"),
    *("sqlalchemy", "httpx", "signal", "select", "urllib.request", "secrets"),
}
IMPURE_CALLS = re.compile(
    r"(?:^|\.)(?:open|now|today|utcnow|read_text|read_bytes|write_text|write_bytes|print|input)$"
)

ALLOWED_HOSTS = re.compile(
    r"(?:[\w.-]*\.)?example(?:\.(?:org|com|net|invalid))?"
    r"|example[\w.-]*\.cloud\.qdrant\.io"  # a placeholder in the shipped configuration
    r"|s3\.[\w-]+\.backblazeb2\.com"
    r"|(?:storage|www|secretmanager)\.googleapis\.com"
    r"|localhost|10(?:\.[\d{}a-z_]+){3}|127(?:\.\d*){3}|\[?::1\]?|203\.0\.113\.\d+|198\.51\.100\.\d+|192\.0\.2\.\d+"
    r"|json-schema\.org|www\.apache\.org|[A-Z]+|[a-z]+|\W.*|"
)
SECRETS = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----|\bAKIA[0-9A-Z]{16}\b|\bghp_[0-9A-Za-z]{36}\b"
    r"|\bsk-[0-9A-Za-z]{32,}\b|\bhf_[0-9A-Za-z]{30,}\b|\bxox[abp]-[0-9A-Za-z-]{20,}\b"
)


def tracked() -> list[str]:
    done = subprocess.run(["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True)
    return [name for name in done.stdout.splitlines() if (PROJECT / name).is_file()]


def texts() -> list[tuple[str, str]]:
    return [
        (name, (PROJECT / name).read_bytes().decode(errors="replace"))
        for name in tracked()
        if name != "LICENSE"
    ]


@pytest.mark.parametrize("module", modules())
def test_a_file_is_a_room_one_knows_at_once(module: str) -> None:
    assert len((PROJECT / module).read_text().splitlines()) <= MOST_LINES


def test_the_median_file_is_small() -> None:
    lengths = sorted(len((PROJECT / module).read_text().splitlines()) for module in modules())

    assert lengths[len(lengths) // 2] <= 150


@pytest.mark.parametrize("module", PURE)
def test_a_pure_file_does_no_io_and_asks_no_clock(module: str) -> None:
    impure = {name for name, _ in imports(module)} & IMPURE_IMPORTS
    impure |= {name.split(".")[0] for name, _ in imports(module)} & IMPURE_IMPORTS
    calls = [
        ast.unparse(node.func)
        for node in ast.walk(parsed(module))
        if isinstance(node, ast.Call) and IMPURE_CALLS.search(ast.unparse(node.func))
    ]

    assert impure == set()
    assert calls == []


@pytest.mark.parametrize("module", [name for name in modules() if name.endswith("/interface.py")])
def test_an_interface_has_six_methods_at_most(module: str) -> None:
    for node in ast.walk(parsed(module)):
        if isinstance(node, ast.ClassDef) and "Protocol" in map(ast.unparse, node.bases):
            methods = [
                inner
                for inner in node.body
                if isinstance(inner, ast.FunctionDef)
                and "property" not in map(ast.unparse, inner.decorator_list)
            ]
            assert len(methods) <= MOST_METHODS, f"{module}: {node.name}"


def test_every_module_says_what_it_is() -> None:
    silent = [
        module
        for module in modules()
        if (PROJECT / module).stat().st_size and not ast.get_docstring(parsed(module))
    ]

    assert silent == []


def test_no_file_holds_a_secret() -> None:
    found = [name for name, text in texts() if SECRETS.search(text)]

    assert found == []


def test_no_file_names_a_host_that_is_not_an_example() -> None:
    found = [
        f"{name}: {host}"
        for name, text in texts()
        for host in re.findall(r"\bhttps?://(\[[^\]]*\]|[^\s/:\"'`<>)\\,?#]*)", text)
        if not ALLOWED_HOSTS.fullmatch(host)
    ]

    assert found == []


def test_nothing_is_left_for_later() -> None:
    words = re.compile(r"\b(?:" + "|".join(["TO" + "DO", "FIX" + "ME", "X" * 3]) + r")\b")
    found = [name for name, text in texts() if words.search(text)]

    assert found == []


def test_the_suites_have_nineteen_minutes() -> None:
    budgets = tomllib.loads((PROJECT / "tests" / "budgets.toml").read_text())

    assert sum(sum(budgets[level].values()) for level in ("quick", "full")) == 19
