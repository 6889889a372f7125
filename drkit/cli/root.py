"""`drkit` itself, before any command: its help, its epilog and --version."""

from __future__ import annotations

from typing import Annotated

import typer

from drkit.cli.usage import Commands


def new_app() -> typer.Typer:
    """`drkit` without a command, with what holds for all of them."""
    app = typer.Typer(
        name="drkit",
        cls=Commands,
        help="Disaster recovery and backup for self-hosted LLM stacks. "
        "Start with: drkit run-drill --sandbox",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        epilog="Exit status: 0 done, 1 bug, 2 usage or configuration, 3 done in part, "
        "10 no repository, 11 locked, 12 wrong key, 20 place unreachable, 21 RPO broken, "
        "22 verification failed, 23 drill failed or overdue, 24 guard rail refused, "
        "25 needs an operator, 26 no capacity, 130 interrupted.",
    )
    app.callback()(_top)
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        from drkit import __version__

        typer.echo(f"drkit {__version__}")
        raise typer.Exit


def _top(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, metavar="", help="Print it."
        ),
    ] = False,
) -> None:
    pass
