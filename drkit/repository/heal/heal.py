"""Puts back in one store what is wrong or missing there, from the others; proved by its hash.

Objects are the same bytes in every store, so nothing is sealed anew, and a run that dies leaves
objects that are right. Config and keys take no part in it (S8).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from drkit.errors import DamagedData, DrkitError, PlaceError
from drkit.events import Emit, Progress
from drkit.repository.check.packs import PackTable
from drkit.repository.check.values import CheckReport, Finding
from drkit.repository.copies.copying import copy_object, good_copy
from drkit.repository.copies.listing import Listing, take_listing
from drkit.repository.format.blob import open_blob
from drkit.repository.format.layout import BESIDE, DATA, DELETIONS, INDEX, PRUNES, SNAPSHOTS
from drkit.repository.format.pack import PackedBlob
from drkit.repository.format.sealing import MasterKey
from drkit.repository.levels.catch_up import Levelled, catch_up, write_ledgers
from drkit.repository.locks.locks import Locks, take_locks
from drkit.repository.repository import Repository
from drkit.stores.interface import Store

_MENDED = (DATA, INDEX, SNAPSHOTS, DELETIONS, PRUNES)


@dataclass(frozen=True, slots=True)
class Healed:
    """What was put back, as (store, object). `failed`: what could not be, with why.
    `by_hand`: findings that drkit does not touch by itself.
    """

    restored: tuple[tuple[str, str], ...]
    failed: tuple[Finding, ...]
    by_hand: tuple[Finding, ...]


def can_be_mended(finding: Finding) -> bool:
    """Whether `heal` would try: an object that other stores hold as the same bytes."""
    return finding.kind in ("wrong", "missing") and finding.name.startswith(_MENDED)


def heal(
    repository: Repository, report: CheckReport, emit: Emit, *, cheapest: Sequence[str] = ()
) -> Healed:
    """Mends what `report` found in the stores that can be locked; other stores are asked in the
    order of `cheapest`. What a store merely lacks it gets as at the next backup.
    """
    locks = take_locks(repository, exclusive=False, need_all=False, emit=emit)
    try:
        restored, failed = _put_back(repository, report, locks, cheapest, emit)
        listings = _listings(locks)
        repository.forget_index()
        levelled = catch_up(repository, listings, emit)
        found, not_found = _bring_back_snapshots(levelled)
        write_ledgers(repository, levelled, [store.name for store in listings], (), emit)
    finally:
        locks.release(emit)
        repository.forget_index()
    by_hand = tuple(
        finding
        for finding in report.findings
        if not can_be_mended(finding) and finding.kind in ("wrong", "missing")
    )
    return Healed((*restored, *found), (*failed, *not_found), by_hand)


def _put_back(
    repository: Repository,
    report: CheckReport,
    locks: Locks,
    cheapest: Sequence[str],
    emit: Emit,
) -> tuple[list[tuple[str, str]], list[Finding]]:
    by_name = {store.name: store for store in locks.by_store}
    rank = {name: place for place, name in enumerate(cheapest)}
    sources = sorted(repository.stores, key=lambda store: rank.get(store.name, len(rank)))
    wanted = [finding for finding in report.findings if can_be_mended(finding)]
    table: PackTable | None = None
    restored, failed = [], []
    for done, finding in enumerate(wanted):
        emit(Progress("repair", done, len(wanted), "packs", finding.name))
        store = by_name.get(finding.store)
        if store is None:
            failed.append(_because(finding, "the store could not be locked"))
            continue
        others = [source for source in sources if source is not store]
        try:
            content = _copy_or_splice(repository, finding.name, others, [*others, store], table)
            _put_and_prove(store, finding.name, content)
        except DrkitError as error:
            failed.append(_because(finding, error.message))
            continue
        restored.append((finding.store, finding.name))
    return restored, failed


def _copy_or_splice(
    repository: Repository,
    name: str,
    others: Sequence[Store],
    every: Sequence[Store],
    table: PackTable | None,
) -> bytes:
    if name.startswith(BESIDE):
        return _good_record(name, others)
    try:
        return good_copy(name, others)
    except DrkitError:  # also where one cannot be asked: the others together may have all of it
        pack = name.rpartition("/")[2]
        table = table or PackTable(repository.index)
        if not name.startswith(DATA) or pack not in table.numbers:
            raise
        spliced = splice_pack(repository.key, name, table.blobs(pack), every)
        if spliced is None:
            raise
        return spliced


def _hash_in(name: str) -> str:
    """The SHA-256 that an object's name ends with; of a record its generation stands before it."""
    return name.rpartition("/")[2].rpartition("-")[2]


def _good_record(name: str, stores: Sequence[Store]) -> bytes:
    for store in stores:
        try:
            content = store.get(name)
        except DrkitError:
            continue
        if hashlib.sha256(content).hexdigest() == _hash_in(name):
            return content
    raise DamagedData(f"{name} has no good copy", hint="drkit status says what it held up")


def splice_pack(
    key: MasterKey, name: str, blobs: Sequence[PackedBlob], stores: Iterable[Store]
) -> bytes | None:
    """The whole pack, put together from copies that are each damaged elsewhere; None when some
    part is right in none of them. The hash of the whole decides.
    """
    copies = []
    for store in stores:
        try:
            copies.append(store.get(name))
        except DrkitError:
            continue
    end = blobs[-1].offset + blobs[-1].length if blobs else 0
    pieces = []
    for blob in blobs:
        found = [copy[blob.offset : blob.offset + blob.length] for copy in copies]
        right = next((piece for piece in found if _opens(key, piece, blob)), None)
        if right is None:
            return None
        pieces.append(right)
    front = b"".join(pieces)
    for copy in copies:
        whole = front + copy[end:]
        if hashlib.sha256(whole).hexdigest() == _hash_in(name):
            return whole
    return None


def _opens(key: MasterKey, piece: bytes, blob: PackedBlob) -> bool:
    try:
        open_blob(key, piece, blob.raw_bytes, blob.id)
    except DamagedData:
        return False
    return True


def _put_and_prove(store: Store, name: str, content: bytes) -> None:
    store.put(name, content, size_bytes=len(content))
    if hashlib.sha256(store.get(name)).hexdigest() != _hash_in(name):
        raise PlaceError(
            f"{store.name} gave back other bytes than it was just given",
            hint="its disk or network damages data: mend that first",
        )


def _listings(locks: Locks) -> dict[Store, Listing]:
    """What the stores list now; one that fails meanwhile takes no part any more."""
    found = {}
    for store in locks.by_store:
        try:
            found[store] = take_listing(store)
        except DrkitError:
            continue
    return found


def _bring_back_snapshots(
    levelled: Levelled,
) -> tuple[list[tuple[str, str]], list[Finding]]:
    """Snapshots that another program removed in one store: an operator who repairs wants them.
    Each store of `levelled` holds all that they reach.
    """
    restored, failed = [], []
    for store in levelled.stores:
        for snapshot in sorted(levelled.standings[store.name].lost):
            if levelled.tombstones.covers("snapshot", snapshot, store.name):
                continue
            name = SNAPSHOTS + snapshot
            holders = [s for s, other in levelled.listings.items() if snapshot in other.snapshots]
            try:
                levelled.listings[store].snapshots[snapshot] = copy_object(name, store, holders)
            except DrkitError as error:
                failed.append(Finding(store.name, name, "missing", error.message))
                continue
            restored.append((store.name, name))
    return restored, failed


def _because(finding: Finding, why: str) -> Finding:
    return Finding(finding.store, finding.name, finding.kind, f"{finding.what}; {why}")
