"""The one place where an error becomes words and an exit status."""

from __future__ import annotations

import json
import os
import re
import sys
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from drkit.cli.terminal.printable import printable
from drkit.errors import ConfigError, DrkitError, Interrupted, PlaceError

if TYPE_CHECKING:
    from drkit.cli.session import Session

BUG = 1
INTERRUPTED = 130

# Libraries that only an extra of the package brings.
EXTRAS = {
    "qdrant_edge": "qdrant",
    "starlette": "sandbox",
    "uvicorn": "sandbox",
    "psycopg": "postgres",
}


class Detached(Interrupted):
    """Whoever looked on at a run does not any more. The run goes on."""


def exit_status_of(error: BaseException, session: Session) -> int:
    """Tells the user what happened and what to do next; the exit status that goes with it."""
    session.terminal.close()
    match error:
        case DrkitError():
            told, status = error, error.exit_status
        case KeyboardInterrupt() | typer.Abort():  # Abort: Ctrl-C or Ctrl-D at a question
            told = _Words("interrupted", "what was complete is kept; the command may be repeated")
            status = INTERRUPTED
        case BrokenPipeError():
            # Whoever read our output has gone; Python's own flush at exit must not complain.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return BUG
        case SystemExit():
            raise error
        case ModuleNotFoundError(name=str(name)) if name.partition(".")[0] in EXTRAS:
            told = _not_installed(name.partition(".")[0])
            status = told.exit_status
        case OSError(filename=str(name)) if Path(name).is_relative_to(session.state_dir):
            told = _state_unusable(error)
            status = told.exit_status
        case Exception():
            told, status = _bug(error, session), BUG
        case _:
            raise error
    if session.json_lines:
        tell_programs(told, status)
    else:
        tell_people(told.message, in_sandbox(session, told.hint))
    if session.verbosity >= 2 and status != INTERRUPTED:
        traceback.print_exception(error, file=sys.stderr)
    return status


class _Words(DrkitError):
    """Words for what is no error of ours."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message, hint=hint)


def _not_installed(library: str) -> DrkitError:
    extra = EXTRAS[library]
    return ConfigError(
        f"this needs {library}, which is not installed",
        hint=f"it comes with the extra: pip install 'drkit[{extra}]'",
    )


def _state_unusable(error: OSError) -> DrkitError:
    return PlaceError(
        f"{error.filename}: {error.strerror}",
        hint="see that it lies in a folder that this user may write to, on a disk that is not "
        "full; `state` in schedules.yaml names another one",
    )


def tell_programs(told: DrkitError, status: int) -> None:
    """One line of JSON on standard error."""
    values = {"message_type": "exit_error", **_as_json(told), "code": status}
    print(json.dumps(values), file=sys.stderr)


def tell_people(message: str, hint: str) -> None:
    print(f"error: {printable(message)}", file=sys.stderr)
    print(f"hint: {printable(hint)}", file=sys.stderr)


def in_sandbox(session: Session, words: str) -> str:
    """What to do next, as it is typed where the mistake was made: the sandbox, or not."""
    asked_for = session.sandbox and "DRKIT_SANDBOX" not in os.environ
    if not asked_for or "--sandbox" in words or not re.search(r"\bdrkit [a-z]", words):
        return words
    return f"{words} (here with --sandbox)"


def _as_json(cause: DrkitError) -> dict[str, Any]:
    values: dict[str, Any] = {
        "code": cause.exit_status,
        "message": cause.message,
        "hint": cause.hint,
    }
    problems = getattr(cause, "problems", ())
    if problems:
        values["problems"] = [
            {"line": p.line, "field": p.field, "text": p.text, "suggestion": p.suggestion}
            for p in problems
        ]
    return values


def _bug(error: Exception, session: Session) -> DrkitError:
    what = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}"
    kept = _keep_traceback(error, session.state_dir)
    where = f"the details are in {kept}" if kept else "run it again with -vv for the details"
    return _Words(f"drkit met something it did not expect: {what}", where)


def _keep_traceback(error: Exception, state_dir: Path) -> Path | None:
    """Only where drkit already keeps things: an error makes no folder of its own."""
    if not state_dir.is_dir():
        return None
    path = state_dir / f"error-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{os.getpid()}.log"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            traceback.print_exception(error, file=file)
    except OSError:
        return None
    return path
