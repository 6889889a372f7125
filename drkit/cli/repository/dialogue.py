"""The first schedules.yaml: asked for on a terminal, shown as an example in a pipe.

Nothing is ever overwritten: files are only created, and only where there are none.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Callable
from pathlib import Path

import typer

from drkit.cli.session import Session
from drkit.config.starter import EXAMPLE_ANSWERS, PASSWORD_FILE, Answers, starter_text
from drkit.errors import ConfigError, GuardRefused

Ask = Callable[[str, str], str]
"""A question and what an empty answer means; the answer."""


def write_first_config(session: Session) -> None:
    """Writes the configuration file if there is none, from answers on the terminal.

    Raises `ConfigError` with an example when nobody can be asked; then nothing was written.
    """
    path = session.config_path
    if os.path.lexists(path):
        return
    if session.json_lines or not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise ConfigError(
            f"there is no {path}, and no terminal to ask for one",
            hint=f"write it, then run this again; at the least:\n\n{starter_text(EXAMPLE_ANSWERS)}",
        )
    say = session.terminal.say
    say(f"There is no {path} yet. Five questions; an empty answer takes what is in brackets.")
    answers = ask_all(session.root, _prompt)
    own = session.root / PASSWORD_FILE
    if answers.password == f"file:{PASSWORD_FILE}" and not os.path.lexists(own):
        # Before the file that names it: whoever is interrupted here is simply asked again.
        _create(own, f"{secrets.token_urlsafe(32)}\n".encode(), mode=0o600)
        say(f"A new password is in {own}. Keep a copy elsewhere: without it nothing can be read.")
    _create(path, starter_text(answers).encode(), mode=0o644)
    say(f"{path} is written; it is yours to change, and drkit never writes it again.")


def _prompt(question: str, default: str) -> str:
    return str(typer.prompt(question, default=default or None))


def ask_all(root: Path, ask: Ask) -> Answers:
    """The answers; asked again where one cannot be."""
    tree = _ask_until(ask, "Which folder is to be kept?", "", _folder(root))
    stores = [_ask_until(ask, "A folder for the copies, on another disk", "", _place)]
    more = ask("A second folder for copies (a NAS, another disk; - for none)", "-").strip()
    if more not in ("", "-"):
        stores.append(more)
    known = "env:RESTIC_PASSWORD" if os.environ.get("RESTIC_PASSWORD") else ""
    password = _ask_until(
        ask,
        f"Where is the repository's password? env:NAME or file:PATH; "
        f"file:{PASSWORD_FILE} is made if it is not there",
        known or f"file:{PASSWORD_FILE}",
        _reference,
    )
    every = _ask_until(ask, "How often is it backed up?", "15m", _duration)
    return Answers(tree, tuple(stores), password, every)


def _ask_until(ask: Ask, question: str, default: str, wrong: Callable[[str], str]) -> str:
    while True:
        answer = ask(question, default).strip()
        problem = wrong(answer)
        if not problem:
            return answer
        question = f"{problem}; {question}"


def _folder(root: Path) -> Callable[[str], str]:
    def wrong(answer: str) -> str:
        if not answer:
            return "It needs a name"
        there = (root / Path(answer).expanduser()).is_dir()
        return "" if there else f"{answer} is no folder here"

    return wrong


def _place(answer: str) -> str:
    return "" if answer else "It needs a name"


def _reference(answer: str) -> str:
    scheme, _, rest = answer.partition(":")
    return "" if scheme in ("env", "file", "cmd") and rest else "A reference, never the password"


def _duration(answer: str) -> str:
    from drkit.units import parse_duration

    try:
        return "" if parse_duration(answer) > 0 else "It must be above 0"
    except ValueError as error:
        return str(error)


def _create(path: Path, content: bytes, *, mode: int) -> None:
    """A new file, durable; GuardRefused when there is one by now, which is left as it is."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    except FileExistsError:
        raise GuardRefused(
            f"{path} is there by now", hint="it was left as it is; look at it, then run this again"
        ) from None
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written: {error.strerror}", hint="name another with --config"
        ) from None
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
