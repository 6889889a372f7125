"""What a prune decides, and when whose turn is: without a store."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from drkit.repository.format.pack import BlobKind, PackedBlob
from drkit.repository.prune.decision import PruneLimits, decide
from drkit.repository.prune.turns import next_turn
from drkit.repository.records.prune_plan import PrunePlan, Turn

ROLES = {"gcs": "primary", "s3": "backup", "b2": "archive"}
MARKED_AT = datetime(2026, 11, 1, tzinfo=UTC)


def plan(turns: dict[str, Turn] | None = None) -> PrunePlan:
    return PrunePlan(1, MARKED_AT, "host", {}, frozenset(), turns or {})


def turn(days: float) -> Turn:
    return Turn(MARKED_AT + timedelta(days=days), "own")


def test_S6_the_archive_comes_last_and_a_week_behind_the_first() -> None:
    roles = {"b2": "archive", "gcs": "primary", "s3": "backup"}
    assert next_turn(plan(), roles) == ("gcs", MARKED_AT + timedelta(hours=23))
    assert next_turn(plan({"gcs": turn(2)}), roles) == ("s3", turn(2).at + timedelta(hours=23))
    both = {"gcs": turn(2), "s3": turn(3)}
    assert next_turn(plan(both), roles) == ("b2", turn(9).at)
    assert next_turn(plan({**both, "b2": turn(9)}), roles) is None


def test_S6_no_hurry_shortens_the_days_between_stores() -> None:
    at_once = next_turn(plan(), ROLES, hold=timedelta(0))
    assert at_once == ("gcs", MARKED_AT)
    later = next_turn(plan({"gcs": turn(0)}), ROLES, hold=timedelta(0))
    assert later == ("s3", MARKED_AT + timedelta(hours=23))


@given(st.data())
def test_every_used_blob_stays_in_a_kept_pack_or_is_carried_over(data: st.DataObject) -> None:
    blobs = [bytes([number]) * 32 for number in range(data.draw(st.integers(1, 30)))]
    layout = {
        f"{number:064x}": [
            PackedBlob(
                blob,
                BlobKind.DATA if number % 3 else BlobKind.TREE,
                at * 100,
                data.draw(st.integers(40, 100)),
                0,
            )
            for at, blob in enumerate(
                data.draw(st.lists(st.sampled_from(blobs), max_size=6, unique=True))
            )
        ]
        for number in range(data.draw(st.integers(1, 12)))
    }
    stored = {blob.id for held in layout.values() for blob in held}
    used = set(data.draw(st.lists(st.sampled_from(blobs), unique=True)))
    limits = PruneLimits(
        data.draw(st.sampled_from([0.0, 0.05, 1.0])),
        data.draw(st.sampled_from([0, 200, 1 << 30])),
        data.draw(st.sampled_from([0, 400, 1 << 30])),
        data.draw(st.integers(1, 4)),
    )

    def all_packs() -> Iterator[tuple[str, list[PackedBlob]]]:
        return iter(layout.items())

    decision = decide(all_packs, used, limits)
    kept = {b.id for pack, held in layout.items() if pack not in decision.marked for b in held}
    assert used & stored <= kept | decision.needed
    assert decision.needed <= used
    assert decision.missing == len(used - stored)
    assert not decision.remove.keys() & decision.repack.keys()
    assert len(decision.needed) * 40 <= limits.max_repack_bytes
    if limits.max_unused == 0 and limits.max_repack_bytes > 200:
        assert decision.unused_bytes == 0


def _pack(name: str, kinds: str, used: int, unused: int) -> tuple[str, list[PackedBlob]]:
    """Of trees and data (`t`, `d`), with so many blobs of 100 bytes that are used, and that are
    not; used ones begin with u.
    """
    states = "u" * used + "-" * unused
    ids = [f"{state}{name}{at}".ljust(32).encode() for at, state in enumerate(states)]
    kind = {"t": BlobKind.TREE, "d": BlobKind.DATA}
    return name, [
        PackedBlob(blob, kind[kinds[at % len(kinds)]], at * 100, 100, 0)
        for at, blob in enumerate(ids)
    ]


def _repacked(limits: PruneLimits, *packs: tuple[str, list[PackedBlob]]) -> str:
    used = {blob.id for _, held in packs for blob in held if blob.id.startswith(b"u")}
    decision = decide(lambda: iter(packs), used, limits)
    assert not decision.remove
    return "".join(sorted(decision.repack))


def test_the_emptiest_are_written_anew_until_what_stays_unused_is_little() -> None:
    packs = [_pack("a", "d", 9, 1), _pack("b", "d", 1, 9), _pack("c", "d", 5, 5)]
    assert _repacked(PruneLimits(max_unused=1.0, small_pack_bytes=0), *packs) == ""
    assert _repacked(PruneLimits(max_unused=0.5, small_pack_bytes=0), *packs) == "b"
    assert _repacked(PruneLimits(max_unused=0.1, small_pack_bytes=0), *packs) == "bc"
    assert _repacked(PruneLimits(max_unused=0.0, small_pack_bytes=0), *packs) == "abc"


def test_what_has_nothing_unused_stays_as_it_is_and_trees_are_parted_from_data() -> None:
    whole, mixed = _pack("a", "d", 10, 0), _pack("b", "dt", 4, 0)
    assert _repacked(PruneLimits(max_unused=0.0, small_pack_bytes=0), whole, mixed) == "b"
    large = _pack("c", "d", 10, 10)  # stays, and so does what is unused
    limits = PruneLimits(max_unused=0.0, max_repack_bytes=999, small_pack_bytes=0)
    assert _repacked(limits, _pack("a", "d", 1, 0), large) == ""


def test_no_more_is_written_anew_than_the_limit_allows() -> None:
    packs = [_pack("a", "d", 2, 8), _pack("b", "d", 3, 7), _pack("c", "dt", 4, 0)]
    for most, expected in ((399, "a"), (400, "c"), (599, "c"), (600, "ac"), (900, "abc")):
        limits = PruneLimits(max_unused=0.0, max_repack_bytes=most, small_pack_bytes=0)
        assert _repacked(limits, *packs) == expected, most
