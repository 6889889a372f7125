"""Which point `drkit restore` takes when none is named (S14)."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from drkit.cli.repository.restore import _chosen
from drkit.coordination.interface import ArbiterUnreachable, RoleRecord
from drkit.points import find
from drkit.points.find import FoundPoint
from drkit.points.point import Point
from drkit.repository.format.snapshot import Snapshot
from drkit.repository.repository import ListedSnapshot
from drkit.repository.trees.select import read_filter

BEGAN = datetime(2026, 6, 1, tzinfo=UTC)


def found(name: str, minute: int, epoch: int) -> FoundPoint:
    at = BEGAN + timedelta(minutes=minute)
    snapshot = Snapshot(at, "tree", (), "h", "u", ("drkit",))
    point = Point(service="assistant", epoch=epoch, created_at=at, complete=True, sources={})
    return FoundPoint(ListedSnapshot(name, snapshot, frozenset({"gcs"})), point)


POINTS = [found("a1", 1, 3), found("c3", 5, 4), found("b2", 9, 3)]  # b2: by the fenced side


def choose(monkeypatch: pytest.MonkeyPatch, answer: Any) -> tuple[str, list[Any]]:
    """What `latest` is, when the arbiter answers so."""
    events: list[Any] = []

    def read_role(_service: str) -> RoleRecord | None:
        if isinstance(answer, Exception):
            raise answer
        return answer

    app: Any = SimpleNamespace(
        config=SimpleNamespace(service=SimpleNamespace(name="assistant")),
        repository=None,
        repository_to_read=None,
        arbiter=SimpleNamespace(read_role=read_role),
        emit=events.append,
    )
    monkeypatch.setattr(find, "list_points", lambda _repository: POINTS)
    chosen = _chosen(app, "latest", read_filter((), (), ()))
    assert isinstance(chosen, FoundPoint)
    return chosen.id, events


def test_S14_the_latest_is_none_that_the_fenced_side_wrote(monkeypatch: pytest.MonkeyPatch) -> None:
    role = RoleRecord("assistant", 4, "coreweave", None, BEGAN, "run", ("a1",))
    assert choose(monkeypatch, role) == ("c3", [])


def test_a_service_that_never_moved_has_one_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose(monkeypatch, None) == ("b2", [])


def test_K5_without_the_arbiter_a_restore_goes_on_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chosen, events = choose(monkeypatch, ArbiterUnreachable("it is away", hint="wait"))
    assert chosen == "b2"
    assert ["whoever wrote it" in event.text for event in events] == [True]
