"""Copies one object to a store from whichever other one has a good copy (S1: the same bytes)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from drkit.errors import DamagedData, DrkitError
from drkit.stores.interface import ObjectMissing, Store


def copy_object(name: str, to: Store, sources: Iterable[Store]) -> int:
    """Copies `name`, whose last part is the SHA-256 of its bytes, to `to`; its size in bytes.

    `sources` are asked in order. Raises `DamagedData` when none has a good copy, else what `to`
    raises.
    """
    content = good_copy(name, [store for store in sources if store is not to])
    to.put(name, content, size_bytes=len(content))
    return len(content)


def good_copy(name: str, sources: Sequence[Store]) -> bytes:
    """The bytes of `name` from the first of `sources` whose copy has the right hash (S11).

    Raises `DamagedData` when each one lacks it or has it wrong; else, when one could not be asked,
    what that one raised.
    """
    wanted = name.rpartition("/")[2]
    reasons = []
    unreachable: DrkitError | None = None
    for store in sources:
        try:
            content = store.get(name)
        except ObjectMissing:
            reasons.append(f"{store.name}: has none")
            continue
        except DrkitError as error:
            reasons.append(f"{store.name}: {error.message}")
            unreachable = error
            continue
        if hashlib.sha256(content).hexdigest() == wanted:
            return content
        reasons.append(f"{store.name}: wrong bytes")
    if unreachable is not None:  # a copy may be good: nothing is given up for lost
        raise unreachable
    raise DamagedData(
        f"{name} has no good copy ({'; '.join(reasons) or 'no store lists it'})",
        hint="drkit check --repair",
    )
