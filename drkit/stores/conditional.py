"""Does a store's server compare before it writes? Some accept the condition and ignore it."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Protocol

from drkit.errors import GuardRefused
from drkit.stores.interface import Conditional, Store, VersionChanged

PROBES = "arbiter/probe-"
"""Where probes lie; a prefix that only the arbiter uses."""


class ConditionalStore(Store, Conditional, Protocol):
    """Both in one."""


def prove(store: ConditionalStore) -> None:
    """Returns when the store refused each write that it must refuse; leaves nothing behind.

    Raises `GuardRefused` naming what was let through, `VersionChanged` when it refuses what it must
    accept, and what the store raises.
    """
    name = PROBES + secrets.token_hex(12)
    try:
        first = store.put_if_absent(name, b"first")
        _must_refuse(store.name, "a second create", lambda: store.put_if_absent(name, b"second"))
        second = store.replace_if(name, b"replaced", first)
        _must_refuse(
            store.name,
            "a write over a version that was replaced",
            lambda: store.replace_if(name, b"late", first),
        )
        found = store.read_versioned(name)
        if (found.data, found.version) != (b"replaced", second):
            raise _ignored(store.name, "what was written last is not what is read")
    finally:
        store.delete(name)


def _must_refuse(store: str, what: str, write: Callable[[], str]) -> None:
    try:
        write()
    except VersionChanged:
        return
    raise _ignored(store, f"{what} was accepted")


def _ignored(store: str, what: str) -> GuardRefused:
    return GuardRefused(
        f"{store}: conditional writes do not hold: {what}",
        hint="lease and role record need a store that compares: gcs, s3 of AWS, a PostgreSQL "
        "database, or a local folder",
    )
