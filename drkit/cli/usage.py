"""What was typed and is no command of drkit: told as every other error is, with status 2."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import takewhile
from typing import Any

import typer
from typer.core import TyperGroup

USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[1]
"""What typer raises for every line that it cannot read; it names only kinds of it."""
SHARED = {
    "--config",
    "-c",
    "--sandbox",
    "--json",
    "--quiet",
    "-q",
    "--verbose",
    "-v",
    "--dry-run",
    "-n",
}


class Commands(TyperGroup):
    """`drkit` itself. Of a line that cannot be read it says what and where, and where to look."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Ends the process with the command's exit status."""
        words = list(sys.argv[1:] if args is None else args)
        try:
            status = super().main(words, prog_name, complete_var, False, **extra)
        except USAGE_ERROR as error:
            status = self._told(error, words)
        sys.exit(status or 0)

    def _told(self, error: Any, words: Sequence[str]) -> int:
        """Says what is wrong with `words`: with --json among them, as one line of JSON."""
        from drkit.cli.errors import tell_people, tell_programs
        from drkit.errors import ConfigError

        message = error.format_message().rstrip(".").replace("Value error, ", "")
        if not message or message.lstrip().startswith("Usage:"):  # no word: its help was shown
            return int(error.exit_code)
        command: Any = self
        path = "drkit"
        for word in words:
            if word not in getattr(command, "commands", {}):
                break
            command, path = command.commands[word], f"{path} {word}"
        hint = f"`{path} --help` says what is accepted"
        option = getattr(error, "option_name", "")
        if option in SHARED and hasattr(command, "commands"):
            hint = f"options stand behind the command: {path} COMMAND {option}"
        told = ConfigError(f"{path}: {message[0].lower()}{message[1:]}", hint=hint)
        if "--json" in takewhile(lambda word: word != "--", words):
            tell_programs(told, told.exit_status)
        else:
            tell_people(told.message, told.hint)
        return told.exit_status
