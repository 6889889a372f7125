"""A name that points at another part of the configuration, and at nothing there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

Unresolved = tuple[tuple[str | int, ...], str, tuple[str, ...]]
"""(path, what is wrong, the names there are)"""


def unknown(
    path: tuple[str | int, ...], name: str, section: str, known: Iterable[str]
) -> Iterator[Unresolved]:
    """Nothing when `name` is known in `section`; else what is wrong at `path`."""
    if name not in known:
        yield path, f"`{name}` is not in `{section}`", tuple(known)
