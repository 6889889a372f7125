"""Collections on their way home: by alias, in one request, each half told from what is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from drkit.config.sources import QdrantPlace, QdrantSource
from drkit.errors import ConfigError, GuardRefused, NeedsOperator
from drkit.runs.actions import divergence, restore_home, swap_home
from drkit.runs.actions.fence_target import ACTION as FENCE
from drkit.runs.actions.interface import StepCall
from drkit.runs.actions.places import VectorMove, moves_of
from drkit.runs.actions.preflight_home import _must_be_swappable
from drkit.sources import qdrant_restore
from drkit.traffic.interface import Setting

if TYPE_CHECKING:
    from conftest import World

RUN = "failback-20260101t000000-abc123"
NEW = "memories-v1-abc123"


class Server:
    """A Qdrant: collections with the ids of their points, and aliases."""

    def __init__(self, collections: Mapping[str, Sequence[int]], aliases: dict[str, str]) -> None:
        self.held = {name: list(ids) for name, ids in collections.items()}
        self.named = dict(aliases)
        self.changes: list[list[dict[str, Any]]] = []

    def collections(self) -> list[str]:
        return sorted(self.held)

    def aliases(self) -> dict[str, str]:
        return dict(self.named)

    def count(self, collection: str) -> int:
        return len(self.held[collection])

    def ids(self, collection: str) -> list[int]:
        return self.held[self.named.get(collection, collection)]

    def ids_sha256(self, collection: str) -> str:
        return str(self.ids(collection))

    def change_aliases(self, actions: list[dict[str, Any]]) -> None:
        """All or none, as Qdrant has it."""
        named = dict(self.named)
        for action in actions:
            if drop := action.get("delete_alias"):
                del named[drop["alias_name"]]
            if make := action.get("create_alias"):
                assert make["collection_name"] in self.held
                assert make["alias_name"] not in named
                named[make["alias_name"]] = make["collection_name"]
        self.named = named
        self.changes.append(actions)


class Hand:
    """The engine's hand on a step; `dies` when it is asked whether it may act."""

    def __init__(self) -> None:
        self.noted: list[Mapping[str, Any]] = []
        self.epoch = 1

    def check(self) -> None: ...

    def pause(self, _seconds: float) -> None: ...

    def note(self, payload: Mapping[str, Any]) -> None:
        self.noted.append(payload)

    def notes(self, name: str) -> list[Any]:
        return [each[name] for each in self.noted if name in each]


class Vectors:
    """Home and target after a restore beside: `memories` still names the former collection."""

    def __init__(self, world: World, tmp_path: Path) -> None:
        self.home = Server(
            {"memories-v1": [1, 2, 3], NEW: [1, 2, 4]},
            {"memories": "memories-v1", "memories-abc123": NEW},
        )
        self.away = Server({"memories-v1": [1, 2, 4]}, {"memories": "memories-v1"})
        self.hand = Hand()
        source = QdrantSource(
            kind="qdrant",
            url="http://192.0.2.8:6333",
            lives_on="qdrant-cloud",
            restore_to=QdrantPlace(url="http://192.0.2.9:6333"),
        )
        world.config = world.config.model_copy(update={"sources": {"qdrant": source}})
        self.context = world.context(
            world.plan(),
            restore_qdrant_to=lambda _name: ("http://192.0.2.9:6333", None),
            qdrant_home=lambda _name: ("http://192.0.2.8:6333", None),
        )

    def call(self, attempt: int = 1, **arguments: Any) -> StepCall:
        brought = {"qdrant": {"url": "http://192.0.2.9:6333", "collections": ["memories-v1"]}}
        values = {"brought": brought, **arguments}
        return StepCall(RUN, "step", attempt, values, {}, self.hand)  # type: ignore[arg-type]

    @property
    def move(self) -> VectorMove:
        (move,) = moves_of(self.call(), self.context)
        assert isinstance(move, VectorMove)
        return move


@pytest.fixture
def vectors(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Vectors:
    made = Vectors(world, tmp_path)
    monkeypatch.setattr(VectorMove, "home", lambda _move: made.home)
    monkeypatch.setattr(VectorMove, "away", lambda _move: made.away)
    return made


def test_the_alias_changes_hands_in_one_request_and_the_former_collection_stays(
    vectors: Vectors,
) -> None:
    done = swap_home.ACTION.run(vectors.call(), vectors.context)
    assert vectors.home.named == {"memories": NEW}
    assert len(vectors.home.changes) == 1
    assert "memories-v1" in vectors.home.held
    assert done.output == {"kept": {"qdrant": {"memories": "memories-v1"}}}


def test_done_twice_it_is_done_once_and_still_knows_the_former(vectors: Vectors) -> None:
    swap_home.ACTION.run(vectors.call(), vectors.context)
    again = swap_home.ACTION.run(vectors.call(2), vectors.context)
    assert len(vectors.home.changes) == 1
    assert again.output == {"kept": {"qdrant": {"memories": "memories-v1"}}}


def test_R12_taken_back_the_alias_names_the_former_again(vectors: Vectors) -> None:
    undo = swap_home.ACTION.undo
    assert undo is not None
    swap_home.ACTION.run(vectors.call(), vectors.context)
    undo(vectors.call(), None, vectors.context)
    assert vectors.home.named == {"memories": "memories-v1"}
    undo(vectors.call(), None, vectors.context)
    assert len(vectors.home.changes) == 2


def test_R12_an_alias_that_somebody_moved_on_meanwhile_is_left_alone(vectors: Vectors) -> None:
    undo = swap_home.ACTION.undo
    assert undo is not None
    swap_home.ACTION.run(vectors.call(), vectors.context)
    vectors.home.held["memories-v2"] = []
    vectors.home.named["memories"] = "memories-v2"
    undo(vectors.call(), None, vectors.context)
    assert vectors.home.named == {"memories": "memories-v2"}


def test_an_alias_that_home_never_had_is_made_and_taken_away_again(vectors: Vectors) -> None:
    undo = swap_home.ACTION.undo
    assert undo is not None
    del vectors.home.named["memories"]
    swap_home.ACTION.run(vectors.call(), vectors.context)
    assert vectors.home.named == {"memories": NEW}
    undo(vectors.call(), None, vectors.context)
    assert vectors.home.named == {}


def test_R7_a_collection_that_clients_ask_is_not_dropped(
    vectors: Vectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    undo = restore_home.ACTION.undo
    assert undo is not None
    dropped: list[str] = []

    def drop(_url: str, _key: str | None, *, names: tuple[str, ...], made_for: str) -> list[str]:
        assert made_for == RUN
        dropped.extend(names)
        return [*names]

    monkeypatch.setattr(qdrant_restore, "drop_restored", drop)
    swap_home.ACTION.run(vectors.call(), vectors.context)
    with pytest.raises(GuardRefused, match="asked as memories"):
        undo(vectors.call(), None, vectors.context)
    assert dropped == []
    back = swap_home.ACTION.undo
    assert back is not None
    back(vectors.call(), None, vectors.context)
    assert NEW in undo(vectors.call(), None, vectors.context)
    assert dropped == [NEW]


def test_a_collection_that_is_asked_by_its_own_name_is_refused_before_anybody_is_held(
    vectors: Vectors,
) -> None:
    _must_be_swappable(vectors.move)
    vectors.away.named = {}
    with pytest.raises(GuardRefused, match="has no alias"):
        _must_be_swappable(vectors.move)
    del vectors.home.held["memories-v1"]
    _must_be_swappable(vectors.move)  # nobody asks for what is not there


def test_Q4_what_each_side_has_alone_is_told_by_the_ids_of_points(vectors: Vectors) -> None:
    with pytest.raises(NeedsOperator, match="1 of qdrant"):
        divergence.ACTION.run(vectors.call(), vectors.context)
    done = divergence.ACTION.run(vectors.call(2), vectors.context)
    assert done.output == {
        "written": {"qdrant": {"count": 1, "named": ["memories-v1 4"]}},
        "stranded": {"qdrant": {"count": 1, "named": ["memories-v1 3"]}},
    }


def test_Q4_an_attempt_that_failed_for_another_reason_has_not_asked(vectors: Vectors) -> None:
    with pytest.raises(NeedsOperator):
        divergence.ACTION.run(vectors.call(2), vectors.context)


def test_Q4_what_is_stranded_since_is_asked_about_again(vectors: Vectors) -> None:
    with pytest.raises(NeedsOperator):
        divergence.ACTION.run(vectors.call(), vectors.context)
    vectors.home.held["memories-v1"].append(9)
    with pytest.raises(NeedsOperator, match="2 of qdrant"):
        divergence.ACTION.run(vectors.call(2), vectors.context)
    divergence.ACTION.run(vectors.call(3), vectors.context)


def test_a_long_difference_is_counted_whole_and_named_in_part(vectors: Vectors) -> None:
    vectors.home.held["memories-v1"] = []
    vectors.away.held["memories-v1"] = list(range(1000))
    done = divergence.ACTION.run(vectors.call(), vectors.context)
    side = done.output["written"]["qdrant"]  # type: ignore[index,call-overload]
    assert (side["count"], len(side["named"])) == (1000, 100)


def test_points_that_still_arrive_at_the_target_are_no_fence(
    vectors: Vectors, world: World
) -> None:
    world.switches[1].set_by_another(Setting(True, None))
    FENCE.run(vectors.call(), vectors.context)
    vectors.hand.pause = lambda _seconds: vectors.away.held["memories-v1"].append(5)  # type: ignore[method-assign]
    with pytest.raises(NeedsOperator, match="still written to"):
        FENCE.run(vectors.call(), vectors.context)
    done = FENCE.run(vectors.call(accept_divergence="anna"), vectors.context)
    assert done.output["accepted_by"] == "anna"


def test_vectors_of_which_nobody_knows_the_server_are_not_brought_home(
    vectors: Vectors, world: World
) -> None:
    for lacking in ("restore_qdrant_to", "qdrant_home"):
        context = world.context(
            world.plan(),
            **{
                "restore_qdrant_to": lambda _name: ("http://192.0.2.9:6333", None),
                "qdrant_home": lambda _name: ("http://192.0.2.8:6333", None),
                lacking: lambda _name: None,
            },
        )
        with pytest.raises(ConfigError, match="restored to"):
            moves_of(vectors.call(), context)


def test_what_no_failback_knows_how_to_bring_home_is_said(vectors: Vectors) -> None:
    call = vectors.call(brought={"dump": {"into": "/there/dump"}})
    with pytest.raises(ConfigError, match="by itself") as caught:
        moves_of(call, vectors.context)
    assert "/there/dump" in caught.value.hint


def test_a_step_that_was_told_nothing_moves_nothing(vectors: Vectors) -> None:
    call = StepCall(RUN, "step", 1, {}, {}, SimpleNamespace())  # type: ignore[arg-type]
    assert moves_of(call, vectors.context) == []
