"""What the program builds of its command line, by the words it is started with."""

import subprocess
import sys
from pathlib import Path

import pytest
from real_command import environment, said
from typer.main import get_command

from drkit.cli.main import app
from drkit.cli.start import ALONE, app_for


@pytest.mark.parametrize("name", sorted(ALONE))
def test_a_command_that_is_built_alone_is_the_one_of_the_whole_command_line(name: str) -> None:
    alone, whole = (get_command(built).commands[name] for built in (app_for([name]), app))  # type: ignore[attr-defined]
    assert [(p.name, p.opts, p.help) for p in alone.params] == [
        (p.name, p.opts, p.help) for p in whole.params
    ]
    assert (alone.help, alone.epilog) == (whole.help, whole.epilog)


@pytest.mark.parametrize("words", [[], ["--help"], ["status"], ["backups"], ["--version"]])
def test_anything_else_builds_the_whole_command_line(words: list[str]) -> None:
    assert app_for(words) is app


@pytest.mark.parametrize("name", sorted(ALONE))
def test_a_command_that_is_built_alone_imports_no_other(name: str) -> None:
    code = (
        f"import sys\nfrom drkit.cli.start import app_for\napp_for([{name!r}])\n"
        "print('drkit.cli.main' in sys.modules, 'drkit.cli.deployment.doctor' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"


def test_what_makes_a_backup_imports_nothing_of_probes_machines_and_arbiters() -> None:
    code = (
        "import sys\nimport drkit.cli.repository.backing_up, drkit.wiring.app\n"
        "print([m for m in sys.modules if m.startswith(('drkit.health', 'drkit.compute', "
        "'drkit.coordination', 'pyfastcdc'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


DEPLOYMENT = """\
drkit: 1
stores:
  near: {kind: folder, role: primary, path: near}
  far: {kind: folder, role: backup, path: far}
repository: {password: "file:password"}
sources: {notes: {kind: tree, path: notes}}
"""
SELDOM_NEEDED = {
    "asking stores for many objects": "drkit.repository.copies.fetch",
    "bringing a store level": "drkit.repository.copies.copying",
    "indexes of copied packs": "drkit.repository.levels.coverage",
    "snapshots that reach marked packs": "drkit.repository.levels.rescue",
    "whole trees": "drkit.repository.trees.reach",
    "what the doctor asks of stores": "drkit.stores.inspection",
    "cutting large files": "pyfastcdc",
    "a state": "sqlalchemy",
    "drawing": "rich",
    "requests": "httpx",
}


def test_a_backup_of_little_change_imports_nothing_that_only_other_runs_need(
    tmp_path: Path,
) -> None:
    (tmp_path / "schedules.yaml").write_text(DEPLOYMENT)
    (tmp_path / "password").write_text("a password of tests")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "first").write_text("a note")
    for words in (["init"], ["backup"]):
        code, out = said(tmp_path, *words)
        assert code == 0, out
    (tmp_path / "notes" / "second").write_text("another note")
    program = (
        "import sys\nfrom drkit.cli.start import main\nsys.argv = ['drkit', 'backup', '--quiet']\n"
        "try:\n    main()\nfinally:\n    print('imported:', *sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    imported = set(done.stdout.partition("imported:")[2].split())
    assert "drkit.repository.backup.archive" in imported
    assert {what for what, module in SELDOM_NEEDED.items() if module in imported} == set()


def test_no_plugin_of_another_package_takes_part_in_reading_a_configuration() -> None:
    code = (
        "import os, sys\nfrom drkit.cli.start import main\nsys.argv = ['drkit', '--version']\n"
        "try:\n    main()\nfinally:\n    print(os.environ['PYDANTIC_DISABLE_PLUGINS'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("\n__all__\n")


def test_the_program_ends_after_its_threads_and_with_all_that_was_said() -> None:
    program = """
import atexit, sys, threading
from drkit.cli import start

def work():
    threading.main_thread().join()
    print("worked")

def command(prog_name):
    atexit.register(print, "told")
    threading.Thread(target=work).start()
    print("said")
    sys.exit(23)

start.app_for = lambda arguments: command
start.main()
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment(),  # nobody has asked for output without a buffer
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (23, "said\nworked\ntold\n", "")


def test_what_cannot_be_said_at_the_end_is_told_by_the_status() -> None:
    program = (
        "import sys\nfrom drkit.cli import start\n"
        "start.app_for = lambda arguments: lambda prog_name: sys.exit(print('said') or 0)\n"
        "start.main()"
    )
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 120
    assert "No space left on device" in done.stderr
