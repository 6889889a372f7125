"""What every command has in common: its options, and the error boundary around it."""

from __future__ import annotations

import functools
import inspect
import signal
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from typer.models import OptionInfo

from drkit.cli.session import Session

DEFAULT_CONFIG = Path("schedules.yaml")

ConfigPath = Annotated[
    Path,
    typer.Option("--config", "-c", metavar="FILE", envvar="DRKIT_CONFIG", help="The deployment."),
]
Sandbox = Annotated[
    bool,
    typer.Option(
        "--sandbox", envvar="DRKIT_SANDBOX", help="Rehearse with embedded stand-ins, no cloud."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object a line (NDJSON).")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Warnings, errors and results only.")]
Verbose = Annotated[
    int, typer.Option("--verbose", "-v", count=True, help="More; -vv also tracebacks.")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", "-n", help="Show what would be done, and do nothing.")
]

BreakGlass = Annotated[
    bool,
    typer.Option("--break-glass", help="The arbiter is away: go on without it. Asks you to type."),
]

RetryLock = Annotated[
    str,
    typer.Option(
        "--retry-lock", metavar="DURATION", help="Wait so long for another's lock: 5m, 2h."
    ),
]


Body = Callable[..., int | None]
Read = TypeVar("Read")


def command(
    app: typer.Typer,
    name: str | None = None,
    *,
    changes: bool = False,
    locks: bool = False,
    **settings: Any,
) -> Callable[[Body], Body]:
    """Registers `body(session, ...)` as a command with the shared options.

    `changes` adds --dry-run, `locks` --retry-lock. The body returns its exit status, None for 0,
    or raises a `DrkitError`; nothing else decides an exit status. SIGTERM ends it as Ctrl-C does.
    """

    def register(body: Body) -> Body:
        @functools.wraps(body)
        def run(**arguments: Any) -> None:
            shared = {key: arguments.pop(key, False) for key in _SHARED}
            session = _open_session(shared)
            retry_lock = shared["retry_lock"]

            def work() -> int | None:
                if locks:
                    session.retry_lock_s = seconds_of(
                        "--retry-lock", retry_lock, hint="restic writes it as 5m or 2h"
                    )
                    _outlive_restic()
                return body(session, **arguments)

            raise typer.Exit(_guarded(session, work))

        left_out = {"" if changes else "dry_run", "" if locks else "retry_lock"}
        signature = _signature(body, left_out)
        run.__signature__ = signature  # type: ignore[attr-defined]
        run.__annotations__ = {
            parameter.name: parameter.annotation for parameter in signature.parameters.values()
        }
        app.command(name, **settings)(run)
        return body

    return register


_SHARED: dict[str, tuple[Any, Any]] = {
    "config_path": (ConfigPath, DEFAULT_CONFIG),
    "sandbox": (Sandbox, False),
    "json_lines": (Json, False),
    "quiet": (Quiet, False),
    "verbose": (Verbose, 0),
    "dry_run": (DryRun, False),
    "retry_lock": (RetryLock, "0s"),
}


def _signature(body: Body, left_out: set[str]) -> inspect.Signature:
    """The command's own parameters, then the shared ones; annotations resolved for typer."""
    hints = typing.get_type_hints(body, localns={"Session": Session}, include_extras=True)
    own = [
        parameter.replace(
            annotation=_named(hints[parameter.name]), kind=inspect.Parameter.KEYWORD_ONLY
        )
        for parameter in list(inspect.signature(body).parameters.values())[1:]
    ]
    shared = [
        inspect.Parameter(
            key, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=_named(kind)
        )
        for key, (kind, default) in _SHARED.items()
        if key not in left_out
    ]
    return inspect.Signature([*own, *shared])


_VALUES = {bool: "", str: "TEXT", int: "NUMBER", float: "NUMBER", Path: "PATH"}


def _named(annotation: Any) -> Any:
    """`annotation`, whose help says what is typed behind the option, and nothing behind a flag;
    typer would say the type that Python has for it.
    """
    kind, *settings = typing.get_args(annotation) or (annotation,)
    for option in settings:
        if isinstance(option, OptionInfo) and option.metavar is None:
            one = next(iter(typing.get_args(kind)), kind)  # of X | None, or list[X]
            one = next(iter(typing.get_args(one)), one)
            option.metavar = "" if option.count else _VALUES.get(one)
    return annotation


def _open_session(shared: dict[str, Any]) -> Session:
    from drkit.cli.terminal.output import open_terminal
    from drkit.logs import configure

    verbosity = -1 if shared["quiet"] else int(shared["verbose"])
    configure(verbosity)
    config_path: Path = shared["config_path"]
    return Session(
        config_path=config_path,
        sandbox=shared["sandbox"],
        json_lines=shared["json_lines"],
        verbosity=verbosity,
        dry_run=shared["dry_run"],
        terminal=open_terminal(json_lines=shared["json_lines"], verbosity=verbosity),
        state_dir=config_path.parent / ".drkit",
    )


def _outlive_restic() -> None:
    """`restic unlock` sends SIGHUP to whoever holds a lock on its machine, to see whether it lives.
    Programs that are started from here are not concerned.
    """
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
        signal.signal(signal.SIGHUP, lambda _signal, _frame: None)


def of_option(option: str, read: Callable[[str], Read], text: str) -> Read:
    """What was typed after `option`, as `read` reads it. ConfigError names the option."""
    from drkit.errors import ConfigError

    try:
        return read(text)
    except ConfigError as error:
        raise ConfigError(f"{option}: {error.message}", hint=error.hint) from None
    except (ValueError, OverflowError):
        raise ConfigError(
            f"{option}: {text!r} is out of range", hint="write one that is nearer to now"
        ) from None


def seconds_of(option: str, duration: str, *, hint: str) -> float:
    """What was typed after `option`, in seconds. ConfigError says what is accepted."""
    from drkit.errors import ConfigError
    from drkit.units import parse_duration

    try:
        return parse_duration(duration)
    except ValueError as error:
        raise ConfigError(f"{option}: {error}", hint=hint) from None


def _guarded(session: Session, body: Callable[[], int | None]) -> int:
    from drkit.cli.errors import exit_status_of

    def stop(_signal: int, _frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    try:
        return body() or 0
    except BaseException as error:
        return exit_status_of(error, session)
    finally:
        session.terminal.close()
