"""What a verification says: one proof for each thing that was compared."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Proof:
    """`check` of `subject` passed or not; `files` are those that are wrong, by path."""

    check: str
    subject: str
    passed: bool
    detail: str
    files: tuple[str, ...] = ()
