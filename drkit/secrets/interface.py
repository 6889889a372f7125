"""Secrets are references that are resolved when used, and text that never shows itself."""

from __future__ import annotations

from typing import Protocol


class Secret:
    """A resolved secret. Its text comes out only by `reveal()`; `repr` and `str` hide it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__


class Secrets(Protocol):
    """Finds what references name. Nothing is read before it is asked for."""

    def resolve(self, reference: tuple[str, ...]) -> Secret:
        """The first reference of the list that resolves.

        Raises `MissingCredential`, naming every place that was looked at, or `NotInThisVersion`
        when none of the schemes has a resolver. Trailing newlines are not part of a secret.
        """
        ...

    def missing(self, reference: tuple[str, ...]) -> str | None:
        """None if it resolves; else where it was looked for, in words ("$NAME is not set")."""
        ...
