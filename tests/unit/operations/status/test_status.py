"""How safe a weights mirror is: said of the stores that are to hold it, and as they hold it."""

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from drkit.clock import ManualClock
from drkit.operations.status import status
from drkit.operations.status.status import Status, status_of
from drkit.points.point import Point, WeightsPart
from drkit.stores.memory import MemoryStore

NOW = ManualClock().now()


def of_weights(*whole: str, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> Status:
    """The status after a point that found the mirror whole on these stores."""
    monkeypatch.setattr(status, "unacknowledged", lambda _repository, _listed: ())
    part = WeightsPart(
        model="m",
        revision="1",
        manifest_digest="d",
        files=1,
        bytes=1,
        stores=whole,
        cut_at=NOW - timedelta(minutes=5),
    )
    point = Point(
        service=None,
        epoch=0,
        created_at=NOW,
        complete=True,
        sources={},
        weights={"weights": part},
    )
    listed = SimpleNamespace(id="a1", stores=frozenset({"gcs", "s3", "b2"}))
    found: Any = SimpleNamespace(point=point, listed=listed, id="a1")
    names = ("gcs", "s3", "b2")
    repository: Any = SimpleNamespace(
        stores=[MemoryStore(name) for name in names], unreachable={}, key=None, **changes
    )
    return status_of(
        repository, [found], {"weights": None}, NOW, mirrors={"weights": ("gcs", "s3")}
    )


def test_a_store_that_is_not_to_hold_a_mirror_says_nothing_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = of_weights("gcs", "s3", monkeypatch=monkeypatch)
    assert {row.store: row.lost_s for row in found.sources} == {"gcs": 300, "s3": 300}


def test_a_mirror_that_is_not_whole_would_be_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    found = of_weights("gcs", monkeypatch=monkeypatch)
    assert {row.store: row.lost_s for row in found.sources} == {"gcs": 300, "s3": None}
