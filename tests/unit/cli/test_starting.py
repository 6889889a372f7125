"""What the program builds of its command line, by the words it is started with."""

import subprocess
import sys

import pytest
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


def test_no_plugin_of_another_package_takes_part_in_reading_a_configuration() -> None:
    code = (
        "import os, sys\nfrom drkit.cli.start import main\nsys.argv = ['drkit', '--version']\n"
        "try:\n    main()\nfinally:\n    print(os.environ['PYDANTIC_DISABLE_PLUGINS'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("\n__all__\n")
