"""What happened, as values. Working code emits them; the terminal, logs and alerts listen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Progress:
    """How far `task` is: `done` of `total` (None: unknown) `unit`s; `detail` is what it is at."""

    task: str
    done: int
    total: int | None
    unit: Literal["bytes", "files", "blobs", "packs", "snapshots", "steps"]
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Note:
    """Something a person should read now: `subject` names the store, source, step or file."""

    level: Literal["info", "warning", "error"]
    subject: str
    text: str


@dataclass(frozen=True, slots=True)
class StoreLagging:
    """A store dropped out of this run and will be caught up from another one."""

    store: str
    reason: str


def unnamed(name: str, text: str) -> str:
    """`text` without the name that it begins with: errors of a store or source name it, as the
    lines that tell them do.
    """
    return text.removeprefix(f"{name}: ")


Event = Progress | Note | StoreLagging
Emit = Callable[[Event], None]


def discard(_event: Event) -> None:
    """The listener of code that nobody watches."""
