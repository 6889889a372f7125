"""What --help says is all there, and says of a flag that it is one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from drkit.cli.main import app

TREE: Any = typer.main.get_command(app)


def commands(node: Any = TREE, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if not hasattr(node, "commands"):
        yield path, node
        return
    for name, below in node.commands.items():
        yield from commands(below, (*path, name))


LEAVES = dict(commands())


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_no_word_of_a_help_is_taken_for_markup(path: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(app, [*path, "--help"], env={"TERMINAL_WIDTH": "400"}).stdout
    for parameter in LEAVES[path].params:
        if parameter.help and not parameter.hidden:
            assert parameter.help.split("\n")[0] in shown


def test_nothing_is_typed_behind_a_flag_and_something_behind_any_other_option() -> None:
    for path, leaf in LEAVES.items():
        for option in leaf.params:
            if option.param_type_name != "option" or option.name == "help":
                continue
            if option.metavar is not None:  # else a choice, of which typer shows what there is
                assert bool(option.metavar) != (option.is_flag or option.count), (path, option.opts)
            assert not option.secondary_opts or option.default, (path, option.opts)
