"""Which points there are, and which one a restore takes (S14)."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from drkit.coordination.interface import RoleRecord
from drkit.errors import ConfigError, DamagedData, GuardRefused, NoRepository
from drkit.events import Event, Note
from drkit.points.find import FoundPoint, choosable, choose_point, list_points, listed_ids
from drkit.points.point import Point
from drkit.repository.format.snapshot import Snapshot
from drkit.repository.repository import ListedSnapshot

BEGAN = datetime(2026, 6, 1, tzinfo=UTC)


def point(minute: int, *, epoch: int = 0, complete: bool = True) -> Point:
    at = BEGAN + timedelta(minutes=minute)
    return Point(service="assistant", epoch=epoch, created_at=at, complete=complete, sources={})


def listed(name: str, *tags: str, minute: int = 0) -> ListedSnapshot:
    at = BEGAN + timedelta(minutes=minute)
    return ListedSnapshot(name, Snapshot(at, "tree", (), "h", "u", tags), frozenset({"gcs"}))


def found(name: str, minute: int, **values: Any) -> FoundPoint:
    return FoundPoint(listed(name, "drkit", minute=minute), point(minute, **values))


def role(epoch: int, *snapshots: str) -> RoleRecord:
    return RoleRecord("assistant", epoch, "coreweave", None, BEGAN, "run", snapshots)


@dataclass
class Listing:
    """A repository, as far as points are looked for in it."""

    held: dict[str, tuple[ListedSnapshot, bytes | Exception]]
    events: list[Event] = field(default_factory=list)

    def snapshots(self) -> list[ListedSnapshot]:
        return [snapshot for snapshot, _ in self.held.values()]

    def read_file(self, snapshot: Snapshot, path: str) -> bytes:
        assert path == "/.drkit/point.json"
        for each, content in self.held.values():
            if each.snapshot is snapshot:
                if isinstance(content, Exception):
                    raise content
                return content
        raise AssertionError

    def emit(self, event: Event) -> None:
        self.events.append(event)


def test_only_snapshots_of_drkit_are_points_and_a_damaged_one_is_told_and_left_out() -> None:
    whole = point(1).to_bytes()
    repository: Any = Listing(
        {
            "a": (listed("aaaaaaaaaa", "drkit"), whole),
            "b": (listed("bbbbbbbbbb"), AssertionError("this one is not read")),
            "c": (listed("cccccccccc", "drkit"), DamagedData("a blob is lost", hint="repair")),
            "d": (listed("dddddddddd", "drkit"), b"{}"),
            "e": (listed("eeeeeeeeee", "drkit", "keep"), whole),
        }
    )
    points = list_points(repository)
    assert [each.id for each in points] == ["aaaaaaaaaa", "eeeeeeeeee"]
    assert points[0].point == point(1)
    told = [(event.level, event.subject) for event in repository.events if isinstance(event, Note)]
    assert told == [("error", "point cccccccc"), ("error", "point dddddddd")]


def test_the_newest_complete_point_is_taken() -> None:
    points = [found("a1", 1), found("b2", 5), found("c3", 3), found("d4", 9, complete=False)]
    assert choose_point(points).id == "b2"


def test_none_that_is_complete_is_no_repository_to_restore_from() -> None:
    for points in ([], [found("a1", 1, complete=False)]):
        with pytest.raises(NoRepository, match=f"among {len(points)}"):
            choose_point(points)


def test_a_point_named_by_the_start_of_its_id_may_be_incomplete() -> None:
    points = [found("a1", 1, complete=False), found("b2", 2)]
    assert choose_point(points, "a").id == "a1"


@pytest.mark.parametrize(("selector", "count"), [("a", 2), ("z", 0)])
def test_a_name_must_fit_one_point(selector: str, count: int) -> None:
    with pytest.raises(ConfigError, match=f"names {count} points"):
        choose_point([found("a1", 1), found("a2", 2)], selector)


def test_S14_an_older_epoch_is_choosable_only_as_it_was_listed_when_the_next_began() -> None:
    before, after = found("a1", 1, epoch=3), found("b2", 9, epoch=3)
    serving = role(4, "a1")
    assert [choosable(each, serving) for each in (before, after)] == [True, False]
    assert choosable(found("c3", 2, epoch=4), serving)
    assert choosable(found("d4", 2, epoch=5), serving)
    assert choosable(after, None)


def test_S14_what_the_fenced_side_wrote_is_never_the_latest() -> None:
    points = [found("a1", 1, epoch=3), found("c3", 5, epoch=4), found("b2", 9, epoch=3)]
    assert choose_point(points, role=role(4, "a1")).id == "c3"
    assert choose_point(points[::2], role=role(4, "a1")).id == "a1"
    with pytest.raises(NoRepository):
        choose_point(points[2:], role=role(4, "a1"))


def test_S14_naming_it_is_refused_with_the_reason() -> None:
    points = [found("a1", 1, epoch=3), found("b2", 9, epoch=3)]
    with pytest.raises(GuardRefused, match=r"b2 was written in epoch 3.*epoch 4"):
        choose_point(points, "b2", role=role(4, "a1"))
    assert choose_point(points, "b2").id == "b2"


def test_S14_a_forbidden_point_does_not_make_a_name_ambiguous() -> None:
    points = [found("ab1", 1, epoch=3), found("ab2", 9, epoch=3)]
    assert choose_point(points, "ab", role=role(4, "ab1")).id == "ab1"


def test_S14_a_point_whose_tags_were_changed_is_still_the_listed_one() -> None:
    before = found("aaaa", 1, epoch=0)
    changed = replace(before.listed.snapshot, tags=("drkit", "pinned"), original="aaaa")
    after = replace(before, listed=replace(before.listed, id="cccc", snapshot=changed))
    assert choosable(after, role(1, "aaaa"))
    assert not choosable(after, role(1, "bbbb"))
    repository: Any = Listing({"c": (after.listed, b"")})
    assert listed_ids(repository) == ("cccc", "aaaa"), "what the next change keeps is noted too"


def test_a_point_that_was_repaired_is_not_complete() -> None:
    whole = point(1).to_bytes()
    repository: Any = Listing({"a": (listed("aaaa", "drkit", "repaired"), whole)})
    assert [each.point.complete for each in list_points(repository)] == [False]
