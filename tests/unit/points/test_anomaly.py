"""When a source looks as if it met an accident: what fell, by how much, and what turned dense."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from drkit.points.anomaly import anomalies, dense_share
from drkit.points.point import SourcePart


def part(files: int, size_bytes: int, dense: float | None = None) -> SourcePart:
    return SourcePart(
        kind="tree",
        path="/sncp",
        cut_at=datetime(2026, 1, 1, tzinfo=UTC),
        files=files,
        bytes=size_bytes,
        dense_share=dense,
    )


@pytest.mark.parametrize(
    ("before", "now", "words"),
    [
        (part(100, 1 << 20), part(50, 1 << 20), ()),
        (part(100, 1 << 20), part(49, 1 << 20), ("100 files became 49",)),
        (part(100, 1 << 20), part(100, 1 << 19), ()),
        (part(100, 1 << 20), part(100, (1 << 19) - 1), ("1048576 bytes became 524287",)),
        (part(100, 1 << 20), part(0, 0), ("100 files became 0", "1048576 bytes became 0")),
        (part(9, 60_000), part(4, 100), ()),
        (part(9, 60_000), part(0, 0), ("9 files became 0", "60000 bytes became 0")),
        (part(0, 0), part(0, 0), ()),
        (part(10, 1 << 20), part(10_000, 1 << 30), ()),
        (part(9, 1 << 20, 0.1), part(9, 1 << 20, 0.6), ()),
        (part(9, 1 << 20, 0.1), part(9, 1 << 20, 0.61), ("61% of it cannot be compressed",)),
        (part(9, 1 << 20, 0.9), part(9, 1 << 20, 1.0), ()),
        (part(9, 1 << 20), part(9, 1 << 20, 1.0), ()),
        (part(9, 1000, 0.0), part(9, 1000, 1.0), ()),
    ],
)
def test_what_fell_or_turned_dense_by_more_than_half_is_told(
    before: SourcePart, now: SourcePart, words: tuple[str, ...]
) -> None:
    found = anomalies(before, now, 50)
    assert len(found) == len(words)
    assert all(text.startswith(start) for text, start in zip(found, words, strict=True))


def test_the_share_is_the_operators_to_set() -> None:
    assert anomalies(part(100, 0), part(80, 0), 10)
    assert not anomalies(part(100, 0), part(80, 0), 25)
    assert not anomalies(part(100, 1 << 20), part(0, 0), 100)


@pytest.mark.parametrize(
    ("before", "size", "new", "dense", "share"),
    [
        (None, 1000, 1000, 250, 0.25),
        (None, 1000, 400, 400, None),
        (None, 0, 0, 0, None),
        (part(1, 1000, 0.0), 1000, 500, 500, 0.5),
        (part(1, 1000, 1.0), 1000, 500, 0, 0.5),
        (part(1, 1000, 0.2), 1000, 0, 0, 0.2),
        (part(1, 1000, 0.5), 1000, 3000, 3000, 1.0),
    ],
)
def test_what_was_not_stored_anew_is_as_dense_as_it_was(
    before: SourcePart | None, size: int, new: int, dense: int, share: float | None
) -> None:
    assert dense_share(before, size_bytes=size, new_bytes=new, dense_bytes=dense) == share
