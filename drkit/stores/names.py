"""Object names, checked going in and coming out."""

from __future__ import annotations

import re

from drkit.stores.interface import StoreRefused

_NAME = re.compile(r"[!-.0-~][!-~]{0,1023}")


def is_safe_name(name: str) -> bool:
    """Whether `name` is relative, printable ASCII without spaces, and has no odd part."""
    return bool(_NAME.fullmatch(name)) and all(
        part not in ("", ".", "..") for part in name.split("/")
    )


def check_name(name: str) -> str:
    if not is_safe_name(name):
        raise StoreRefused(
            f"{name!r} is no object name",
            hint="names are relative, of printable ASCII, without empty, . or .. parts",
        )
    return name
