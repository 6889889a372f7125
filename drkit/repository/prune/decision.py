"""Which packs a prune keeps, removes and writes anew, from what is used in each. Pure.

As restic's: packs without a used blob go; partly used ones are repacked, the emptiest first, until
what stays unused is within the limit; of a blob in several packs one copy counts. Many small packs
become few.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass

from drkit.repository.format.pack import PACK_BYTES, BlobKind, PackedBlob
from drkit.repository.levels.index_files import size_of

Packs = Callable[[], Iterable[tuple[str, list[PackedBlob]]]]
"""Every pack with its blobs; can be gone through several times."""


@dataclass(frozen=True, slots=True)
class PruneLimits:
    """`max_unused`: share of the used bytes that may stay unused. `max_repack_bytes` bounds what
    one run writes anew. Packs below `small_pack_bytes` are merged when at least `merge_from` of
    a kind are.
    """

    max_unused: float = 0.05
    max_repack_bytes: int = 4 << 30
    small_pack_bytes: int = PACK_BYTES // 4
    merge_from: int = 16


@dataclass(frozen=True, slots=True)
class PruneDecision:
    """`remove` and `repack` by pack id with sizes in bytes; `needed` are the blobs to take out of
    the repacked ones. `unused_bytes` stay in packs that are kept.
    """

    remove: Mapping[str, int]
    repack: Mapping[str, int]
    needed: Set[bytes]
    used_bytes: int
    unused_bytes: int
    missing: int

    @property
    def marked(self) -> dict[str, int]:
        """Every pack that goes: what is repacked lies in new ones by then."""
        return {**self.remove, **self.repack}


@dataclass(slots=True)
class _Use:
    size: int
    used: int
    unused: int
    kinds: frozenset[BlobKind]


def decide(
    packs: Packs, used: Set[bytes], limits: PruneLimits, must_go: Set[str] = frozenset()
) -> PruneDecision:
    """What to do with each pack, given the blobs that some snapshot of some store reaches. The
    packs in `must_go` go whatever the limits say: something in them was erased (K6).
    """
    owner, missing = _owners(packs, used)
    uses = {pack: _use(pack, blobs, owner) for pack, blobs in packs()}
    remove = {pack: use.size for pack, use in uses.items() if not use.used}
    kept = {pack: use for pack, use in uses.items() if use.used}
    used_bytes = sum(use.used for use in kept.values())
    unused_bytes = sum(use.unused for use in kept.values())
    repack: dict[str, int] = {}
    budget = limits.max_repack_bytes

    def take(pack: str) -> None:
        nonlocal budget, unused_bytes
        repack[pack] = kept[pack].size
        budget -= kept[pack].used
        unused_bytes -= kept[pack].unused

    for pack in kept.keys() & must_go:
        take(pack)
    for pack, use in kept.items():
        if (
            pack not in repack and len(use.kinds) > 1 and use.used <= budget
        ):  # old restic mixed trees and data
            take(pack)
    emptiest = sorted(kept, key=lambda pack: (kept[pack].used / kept[pack].size, pack))
    for pack in emptiest:
        if unused_bytes <= limits.max_unused * used_bytes:
            break
        if pack not in repack and kept[pack].unused and kept[pack].used <= budget:
            take(pack)
    for kind in BlobKind:
        small = sorted(
            pack
            for pack, use in kept.items()
            if use.kinds == {kind} and use.size < limits.small_pack_bytes and pack not in repack
        )
        if len(small) >= limits.merge_from:
            for pack in small:
                if kept[pack].used <= budget:
                    take(pack)
    needed = {blob for blob, pack in owner.items() if pack in repack}
    return PruneDecision(remove, repack, needed, used_bytes, unused_bytes, missing)


def _owners(packs: Packs, used: Set[bytes]) -> tuple[dict[bytes, str], int]:
    """For each used blob the one pack that counts, and how many are in none. Of several packs the
    one with most used bytes wins: it is kept anyway.
    """
    weight = {
        pack: sum(blob.length for blob in blobs if blob.id in used) for pack, blobs in packs()
    }
    owner: dict[bytes, str] = {}
    for pack, blobs in packs():
        for blob in blobs:
            if blob.id not in used:
                continue
            before = owner.get(blob.id)
            if before is None or (weight[pack], pack) > (weight[before], before):
                owner[blob.id] = pack
    return owner, len(used) - len(owner)


def _use(pack: str, blobs: list[PackedBlob], owner: Mapping[bytes, str]) -> _Use:
    used = 0
    seen: set[bytes] = set()
    for blob in blobs:
        if owner.get(blob.id) == pack and blob.id not in seen:
            used += blob.length
            seen.add(blob.id)
    total = sum(blob.length for blob in blobs)
    return _Use(size_of(blobs), used, total - used, frozenset(blob.kind for blob in blobs))
