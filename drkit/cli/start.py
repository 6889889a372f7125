"""Where the `drkit` program begins: it imports what the command needs, and no more.

The commands that are run many times a day have a file of their own here; all others, and every
help, build the whole command line (`drkit.cli.main`).
"""

from __future__ import annotations

import atexit
import gc
import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer

ALONE: Mapping[str, str] = {"backup": "backup", "restore": "restore"}
"""Commands that are built without the others, and their modules in drkit.cli.repository."""


def app_for(arguments: Sequence[str]) -> typer.Typer:
    """The command line that `arguments` need."""
    module = ALONE.get(arguments[0]) if arguments else None
    if module is None:
        from drkit.cli.main import app

        return app
    from drkit.cli.root import new_app

    app = new_app()
    app.add_typer(importlib.import_module(f"drkit.cli.repository.{module}").app)
    return app


def main() -> None:
    """The `drkit` program: ends with the exit status."""
    # no package that happens to be installed takes part in reading what people wrote
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    # A command makes many values and few cycles: looking for these cost a tenth of its time. It is
    # said before anything is imported, as imports make the most.
    gc.set_threshold(100_000, 20, 20)
    statuses: list[int] = []
    atexit.register(_end, statuses)  # before all others, as the last one to be called
    try:
        app_for(sys.argv[1:])(prog_name="drkit")
    except SystemExit as ended:
        if isinstance(ended.code, int):
            statuses.append(ended.code)
        raise


def _end(statuses: Sequence[int]) -> None:
    """Ends the process with the status, if the command has come to one.

    Threads have ended by now, and whoever wants to know of the end was told. An interpreter would
    go on to take every module apart, which closes nothing and takes as long as hundreds of files.
    """
    if not statuses:
        return
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (AttributeError, OSError, ValueError):  # closed: the interpreter tells it as ever
        return
    os._exit(statuses[-1])
