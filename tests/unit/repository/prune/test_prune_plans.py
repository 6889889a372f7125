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
    if limits.max_unused == 0 and limits.max_repack_bytes > 200:
        assert decision.unused_bytes == 0
