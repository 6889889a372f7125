"""The real command: help, usage, the error boundary, and what the documents say of it."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import typer

from drkit.cli.main import app

PROJECT = Path(__file__).resolve().parents[2]
COMMAND_TREE: Any = typer.main.get_command(app)
HEAVY = {
    *("numpy", "sqlalchemy", "httpx", "cryptography", "pydantic", "ruamel", "jinja2", "dns"),
    *("starlette", "uvicorn", "apscheduler", "zstandard", "orjson", "qdrant_edge", "pyfastcdc"),
}


def test_help_imports_typer_and_declarations_only() -> None:
    code = (
        "import sys\nfrom drkit.cli.main import app\n"
        "try: app(['--help'])\nexcept SystemExit: pass\n"
        "print('\\n'.join(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, timeout=60
    )

    loaded = set(done.stderr.split())
    assert "Usage: " in done.stdout
    assert not {name.split(".")[0] for name in loaded} & HEAVY
    ours = {name for name in loaded if name.startswith("drkit.")}
    assert {name for name in ours if not name.startswith("drkit.cli")} <= {"drkit.errors"}


def test_the_shipped_configuration_is_right(drkit: Any) -> None:
    done = drkit("config", "validate", "--json")

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["stores"] == 3


def test_the_shipped_deployment_costs_at_most_fifty_dollars_a_month(drkit: Any) -> None:
    done = drkit("cost", "--json")

    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    bills = [row for row in rows if row["message_type"] == "store_cost"]
    assert [bill["store"] for bill in bills] == ["gcs", "s3", "b2"]
    assert 0 < rows[-1]["usd_per_month"] <= 50
    assert f"${rows[-1]['usd_per_month']:.2f} a month" in drkit("cost").stdout


def test_a_wrong_configuration_exits_2_with_every_problem(drkit: Any, tmp_path: Path) -> None:
    (tmp_path / "schedules.yaml").write_text("drkit: 1\nstoers: {}\n")

    done = drkit("config", "validate", cwd=tmp_path)

    assert done.returncode == 2
    assert "schedules.yaml:2: stoers: unknown key; did you mean `stores`?" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("hint: ")
    assert done.stdout == ""


def test_with_json_an_error_is_one_line_on_standard_error(drkit: Any, tmp_path: Path) -> None:
    done = drkit("config", "show", "--json", cwd=tmp_path)

    assert json.loads(done.stderr) == {
        "message_type": "exit_error",
        "code": 2,
        "message": "there is no schedules.yaml",
        "hint": json.loads(done.stderr)["hint"],
    }
    assert (done.returncode, done.stdout) == (2, "")


def test_config_show_prints_the_stand_ins_of_the_sandbox(drkit: Any, tmp_path: Path) -> None:
    shutil.copy(PROJECT / "schedules.yaml", tmp_path)
    plain = drkit("config", "show", "--json", cwd=tmp_path)
    mapped = drkit("config", "show", "--sandbox", "--json", cwd=tmp_path)
    text = drkit("config", "show", "--sandbox", cwd=tmp_path)

    stores = json.loads(mapped.stdout)["config"]["stores"]
    below = tmp_path / ".drkit/sandbox"
    assert {name: store["path"] for name, store in stores.items()} == {
        name: str(below / "stores" / name) for name in ("gcs", "s3", "b2")
    }
    assert json.loads(plain.stdout)["config"]["stores"]["gcs"]["kind"] == "gcs"
    assert "kind: folder" in text.stdout and "kind: gcs" not in text.stdout
    again = drkit("config", "show", "--sandbox", cwd=tmp_path)
    assert again.stdout == text.stdout  # ports are chosen once
    assert [path.name for path in below.iterdir()] == ["ports.json"]


def test_config_show_resolves_no_secret_and_hides_what_was_written_into_a_url(
    drkit: Any,
    tmp_path: Path,
) -> None:
    (tmp_path / "schedules.yaml").write_text(
        "drkit: 1\n"
        "stores: {disk: {kind: folder, role: primary, path: copies}}\n"
        "repository: {password: env:PLANTED}\n"
        "sources: {notes: {kind: tree, path: notes}}\n"
        "state: {url: 'postgresql+psycopg://drkit:swordfish@db.example.org/drkit'}\n"
    )
    for more in ([], ["--json"], ["--sandbox"]):
        done = drkit("config", "show", *more, cwd=tmp_path, PLANTED="hunter2")
        assert done.returncode == 0, done.stderr
        assert "swordfish" not in done.stdout + done.stderr
        assert "hunter2" not in done.stdout + done.stderr
    shown = drkit("config", "show", cwd=tmp_path).stdout
    assert "postgresql+psycopg://drkit:***@db.example.org/drkit" in shown
    assert "env:PLANTED" in shown


def test_an_unknown_command_exits_2(drkit: Any) -> None:
    assert drkit("bakcup").returncode == 2


def test_a_reader_that_leaves_early_causes_no_complaint() -> None:
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m drkit config schema | head -n 1"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.stdout == "{\n"
    assert done.stderr == ""


def test_a_terminate_signal_ends_a_command_in_order_with_130(tmp_path: Path) -> None:
    script = tmp_path / "waits.py"
    script.write_text(
        "import time, typer\n"
        "from drkit.cli.options import command\n"
        "from drkit.cli.session import Session\n"
        "app = typer.Typer()\n"
        "@command(app)\n"
        "def wait(session: Session) -> None:\n"
        "    try:\n"
        "        print('ready', flush=True)\n"
        "        time.sleep(60)\n"
        "    finally: print('tidied up', flush=True)\n"
        "app()\n"
    )
    process = subprocess.Popen(
        [sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=30)

    assert out == "tidied up\n"
    assert "error: interrupted" in err
    assert process.returncode == 130


def test_every_command_takes_the_shared_options() -> None:
    for path, leaf in leaves(COMMAND_TREE):
        if path in WITHOUT_SHARED_OPTIONS:
            continue
        options = {option for parameter in leaf.params for option in parameter.opts}
        missing = {"--config", "--sandbox", "--json", "--quiet", "--verbose"} - options
        assert not missing, f"drkit {' '.join(path)} lacks {sorted(missing)}"
        assert leaf.help, f"drkit {' '.join(path)} says nothing of itself"


# What runs on a rented machine knows neither configuration nor sandbox.
WITHOUT_SHARED_OPTIONS = {("bootstrap",)}


def leaves(node: Any, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    if not hasattr(node, "commands"):
        return [(path, node)]
    return [leaf for name, inner in node.commands.items() for leaf in leaves(inner, (*path, name))]
