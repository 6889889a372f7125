"""Names of objects: what is accepted going in, and what is believed coming out of a list."""

from __future__ import annotations

from drkit.stores.interface import StoreRefused

MOST_NAME_CHARS = 900
LOCKED_BELOW = ("repository/data/", "repository/index/", "repository/snapshots/")
"""What object lock applies to (S13): leases, locks and tombstones must stay deletable."""


def is_safe_name(name: str) -> bool:
    """Whether `name` is relative, printable ASCII, and free of `.`, `..`, `\\` and empty parts."""
    return (
        0 < len(name) <= MOST_NAME_CHARS
        and name.isascii()
        and name.isprintable()
        and "\\" not in name
        and not any(part in ("", ".", "..") for part in name.split("/"))
    )


def check_name(store: str, name: str) -> None:
    """Raises `StoreRefused` for a name that no store takes."""
    if not is_safe_name(name):
        raise StoreRefused(
            f"{store}: {name[:200]!r} cannot be the name of an object",
            hint="names are relative, of printable ASCII, without '.', '..' or empty parts",
        )


def check_prefix(store: str, prefix: str) -> None:
    """Raises `StoreRefused` for a prefix that no name can start with."""
    if prefix and not is_safe_name(prefix + "x"):
        raise StoreRefused(
            f"{store}: {prefix[:200]!r} cannot be the start of a name",
            hint="prefixes are starts of names: relative, of printable ASCII, without '..'",
        )
