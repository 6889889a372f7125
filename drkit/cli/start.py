"""Where the `drkit` program begins: it imports what the command needs, and no more.

The commands that are run many times a day have a file of their own here; all others, and every
help, build the whole command line (`drkit.cli.main`).
"""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated

import typer

ALONE: Mapping[str, str] = {"backup": "backup", "restore": "restore"}
"""Commands that are built without the others, and their modules in drkit.cli, each with `app`."""


def new_app() -> typer.Typer:
    """`drkit` without a command, with what holds for all of them."""
    app = typer.Typer(
        name="drkit",
        help="Disaster recovery and backup for self-hosted LLM stacks. "
        "Start with: drkit run-drill --sandbox",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        epilog="Exit status: 0 done, 1 bug, 2 usage or configuration, 3 done in part, "
        "10 no repository, 11 locked, 12 wrong key, 20 place unreachable, 21 RPO broken, "
        "22 verification failed, 23 drill failed, 24 guard rail refused, 25 needs an operator, "
        "26 no capacity, 130 interrupted.",
    )
    app.callback()(_top)
    return app


def app_for(arguments: Sequence[str]) -> typer.Typer:
    """The command line that `arguments` need."""
    module = ALONE.get(arguments[0]) if arguments else None
    if module is None:
        from drkit.cli.main import app

        return app
    app = new_app()
    app.add_typer(importlib.import_module(f"drkit.cli.{module}").app)
    return app


def main() -> None:
    """The `drkit` program: ends with the exit status."""
    # a command makes many values and few cycles: looking for these cost a tenth of its time
    gc.set_threshold(100_000, 20, 20)
    try:
        app_for(sys.argv[1:])(prog_name="drkit")
    finally:
        gc.freeze()  # an interpreter that ends looks through all values once more


def _print_version(wanted: bool) -> None:
    if wanted:
        from drkit import __version__

        typer.echo(f"drkit {__version__}")
        raise typer.Exit


def _top(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    pass
