"""What one store lists of the repository: one request for every thousand objects, locks included.

Names are untrusted: what does not look like an object of the repository is left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from drkit.repository.format.layout import (
    DATA,
    DELETIONS,
    EVERYTHING,
    INDEX,
    LEDGER,
    LOCKS,
    PRUNES,
    SNAPSHOTS,
)
from drkit.stores.interface import Store

_ID = re.compile(r"[0-9a-f]{64}")
_PACK = re.compile(r"[0-9a-f]{2}/[0-9a-f]{64}")
_RECORD = re.compile(r"[0-9]{10}-[0-9a-f]{64}")


@dataclass(slots=True)
class Listing:
    """Ids (of records: names) with sizes in bytes. What is copied or deleted later is kept up."""

    packs: dict[str, int] = field(default_factory=dict)
    indexes: dict[str, int] = field(default_factory=dict)
    snapshots: dict[str, int] = field(default_factory=dict)
    locks: dict[str, int] = field(default_factory=dict)
    deletions: dict[str, int] = field(default_factory=dict)
    prunes: dict[str, int] = field(default_factory=dict)
    has_ledger: bool = False


def take_listing(store: Store) -> Listing:
    """All that `store` lists of the repository now."""
    listing = Listing()
    folders = (
        (INDEX, listing.indexes, _ID),
        (SNAPSHOTS, listing.snapshots, _ID),
        (LOCKS, listing.locks, _ID),
        (DELETIONS, listing.deletions, _RECORD),
        (PRUNES, listing.prunes, _RECORD),
    )
    for info in store.list(EVERYTHING):
        name = info.name
        if name.startswith(DATA):
            if _PACK.fullmatch(name, len(DATA)):
                listing.packs[name[len(DATA) + 3 :]] = info.size_bytes
            continue
        if name == LEDGER:
            listing.has_ledger = True
            continue
        for folder, found, shape in folders:
            if name.startswith(folder) and shape.fullmatch(name, len(folder)):
                found[name[len(folder) :]] = info.size_bytes
    return listing


def list_deletions(store: Store) -> Listing:
    """The deletion records of `store` and nothing else: one request."""
    found = {i.name[len(DELETIONS) :]: i.size_bytes for i in store.list(DELETIONS)}
    return Listing(deletions={name: n for name, n in found.items() if _RECORD.fullmatch(name)})
