"""What `drkit --help` costs, beside a typer application of two commands."""

from __future__ import annotations

import sys

from bench.case import AtMost, Bench, Case, Command, Contender

SMALL = """
import typer
app = typer.Typer()
@app.command()
def one(count: int = 1) -> None: "The first."
@app.command()
def two(name: str = "x") -> None: "The second."
app(["--help"])
"""
DRKIT = "from drkit.cli.main import app; app(['--help'])"


def prepare(_bench: Bench) -> list[Contender]:
    return [
        Contender("drkit", (Command((sys.executable, "-c", DRKIT)),)),
        Contender("two-command typer", (Command((sys.executable, "-c", SMALL)),)),
    ]


CASE = Case(
    "help_cost",
    "drkit --help",
    prepare,
    bars=(AtMost("wall_s", 3, of="two-command typer"), AtMost("wall_s", 0.5)),
    rounds=9,
)
