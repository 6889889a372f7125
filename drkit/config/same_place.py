"""Two stores in one place would be counted as two copies, and are one. Pure."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping

from drkit.config.references import Unresolved
from drkit.config.stores import FolderStore, StoreConfig


def in_one_place(stores: Mapping[str, StoreConfig]) -> Iterator[Unresolved]:
    """Every store that lies where one before it does. Links are not followed."""
    first: dict[tuple[str, ...], str] = {}
    for name, store in stores.items():
        other = first.setdefault(_place(store), name)
        if other != name:
            field = "path" if isinstance(store, FolderStore) else "bucket"
            text = f"the store `{other}` lies here already: two copies in one place are one"
            yield ("stores", name, field), text, ()


def _place(store: StoreConfig) -> tuple[str, ...]:
    prefix = posixpath.normpath(store.prefix.strip("/") or ".")
    if isinstance(store, FolderStore):
        return ("", posixpath.normpath(posixpath.join(store.path, prefix)))
    where = (store.endpoint or store.kind).rstrip("/")
    return (where, store.region or "", store.bucket, prefix)
