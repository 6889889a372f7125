"""K6: what an erasure leaves is said in its plan, exactly."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from drkit.config.load import load_config
from drkit.operations.deletion.erase_leaves import Left, left_by_erasing
from drkit.points.find import FoundPoint
from drkit.points.point import Point, SourcePart
from drkit.repository.format.snapshot import Snapshot
from drkit.repository.repository import ListedSnapshot

SHIPPED = load_config(Path(__file__).parents[4] / "schedules.yaml")
NOW = datetime(2026, 11, 1, tzinfo=UTC)
DIARY = "/sncp/users/42"


def found(name: str, **part: Any) -> FoundPoint:
    sncp = SourcePart(kind="tree", path="/sncp", cut_at=NOW, files=1, bytes=1, **part)
    point = Point(service=None, epoch=0, created_at=NOW, complete=True, sources={"sncp": sncp})
    snapshot = cast(Snapshot, None)
    return FoundPoint(ListedSnapshot(name * 64, snapshot, frozenset({"gcs"})), point)


def left(
    paths: tuple[str, ...] = (DIARY,), removed: tuple[str, ...] = (), **given: Any
) -> dict[str, Left]:
    options = {"points": [found("a")], "sources": SHIPPED.sources, "runs": 0, **given}
    return {each.kind: each for each in left_by_erasing(paths, removed, **options)}


def test_K6_mirrored_weights_stay_and_the_plan_says_where_they_lie() -> None:
    said = str(left()["weights"])
    assert "weights/Qwen3-4B/1cfa9a7208912126459214e8b04321603b3df60c/ on gcs, s3" in said
    assert "drkit erase --weights Qwen3-4B@1cfa9a7" in said
    trees = {"sncp": SHIPPED.sources["sncp"]}
    assert left(sources=trees).keys() == {"point.json", "here"}


def test_K6_single_vectors_stay_in_snapshots_of_qdrant() -> None:
    assert "erase /SOURCE/COLLECTION" in left()["vectors"].how


def test_K6_points_keep_their_counts_and_go_only_whole() -> None:
    said = left()["point.json"]
    assert "how many files" in said.what and "golden answers" in said.what
    assert "--point" in said.how
    assert "point.json" not in left(removed=("a" * 64,))


def test_K6_a_point_that_names_what_goes_is_named() -> None:
    points = [
        found("a"),
        found("b", unreadable=("/srv/sncp/users/42/diary.md",)),
        found("c", changing=("/srv/sncp/users/42",)),
        found("d", unreadable=("/srv/sncp/users/421/diary.md", "/elsewhere/users/42")),
    ]
    said = left(points=points)["point.json"].what
    assert "names it in bbbbbbbb, cccccccc" in said
    assert "names it" not in left(("/history/x",), points=points)["point.json"].what
    assert (
        "names it in bbbbbbbb, cccccccc, dddddddd"
        in left(("/sncp",), points=[*points[1:3], found("d", unreadable=("/srv/sncp/other",))])[
            "point.json"
        ].what
    )


def test_K6_journals_and_evidence_of_runs_stay() -> None:
    assert "runs" not in left()
    said = left(runs=3)["runs"]
    assert "evidence of 3 runs" in said.what
    assert "runs/RUN/" in said.how
