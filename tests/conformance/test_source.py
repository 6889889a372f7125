"""The contract of drkit.sources.interface.Source, made executable. To add a source: one `Join`."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from listening import running_standin

from drkit.clock import ManualClock, SystemClock
from drkit.errors import DamagedData, GuardRefused, PlaceError
from drkit.events import Event, Note, discard
from drkit.http_client import NoAnswer
from drkit.sources import qdrant_restore
from drkit.sources.command import CommandOutput
from drkit.sources.interface import Excludes, Source, SourceUnreadable
from drkit.sources.memory import MemorySource
from drkit.sources.qdrant import QdrantServer
from drkit.sources.qdrant_rest import QdrantRest, aliases_of
from drkit.sources.qdrant_restore import drop_restored, restore_qdrant
from drkit.sources.tree import TreeFolder
from drkit.verify.qdrant import verify_qdrant

PROJECT = Path(__file__).resolve().parents[2]
CLOCK = ManualClock()


@contextmanager
def qdrant(folder: Path) -> Iterator[QdrantRest]:
    """A stand-in on loopback, empty."""
    folder.mkdir(parents=True)
    with running_standin("qdrant", folder, "--data", folder / "data") as server:
        yield QdrantRest(server.url)


def fill(rest: QdrantRest, name: str = "memories-v1", alias: str = "memories") -> None:
    rest.create(name, {"vectors": {"size": 4, "distance": "Cosine"}})
    points = [
        {"id": n, "vector": [1.0, n / 7, (n * n) % 11, 1.0 / n], "payload": {"n": n}}
        for n in range(1, 40)
    ]
    rest._ask("PUT", f"/collections/{name}/points", {"points": points}, params={"wait": "true"})
    point_to(rest, alias, name)


def point_to(rest: QdrantRest, alias: str, name: str) -> None:
    rest.change_aliases([{"create_alias": {"collection_name": name, "alias_name": alias}}])


@dataclass
class Join:
    """`good` opens a source that can be cut, `bad` one that cannot; both are context managers."""

    good: Callable[[Path], object]
    bad: Callable[[Path], object]


@contextmanager
def memory(_folder: Path, broken: bool = False) -> Iterator[Source]:
    source = MemorySource("it", {"a/b": b"content"})
    source.broken = broken
    yield source


@contextmanager
def tree(folder: Path, there: bool = True) -> Iterator[Source]:
    if there:
        (folder / "real").mkdir()
        (folder / "real" / "file").write_bytes(b"content")
        (folder / "link").symlink_to(folder / "real")
    yield TreeFolder("it", str(folder / "link"), exclude=Excludes(("*.tmp",)), clock=CLOCK)


@contextmanager
def command(_folder: Path, script: str = "print('content')") -> Iterator[Source]:
    argv = (sys.executable, "-c", script)
    yield CommandOutput("it", argv, filename="dump.sql", clock=CLOCK)


@contextmanager
def collections(folder: Path, only: tuple[str, ...] | None = None) -> Iterator[Source]:
    with qdrant(folder / "server") as rest:
        fill(rest)
        yield QdrantServer("it", rest, collections=only, clock=CLOCK)


JOIN = {
    "memory": Join(memory, lambda folder: memory(folder, broken=True)),
    "tree": Join(tree, lambda folder: tree(folder, there=False)),
    "command": Join(command, lambda folder: command(folder, "print('half'); exit('it broke')")),
    "qdrant": Join(collections, lambda folder: collections(folder, ("absent",))),
}


@pytest.fixture(params=JOIN, ids=list(JOIN))
def join(request: pytest.FixtureRequest) -> Join:
    return JOIN[request.param]


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    (tmp_path / "spool").mkdir()
    return tmp_path / "spool"


def test_a_cut_lies_in_a_folder_and_its_facts_are_json(join, tmp_path, spool) -> None:
    with join.good(tmp_path) as source:
        cut = source.cut(spool, discard)
    assert source.name == "it"
    assert [path for path in cut.root.rglob("*") if path.is_file()]
    assert cut.cut_at == CLOCK.now()
    assert json.loads(json.dumps(dict(cut.facts))) == cut.facts
    assert cut.staged == cut.root.is_relative_to(spool)


def test_what_is_not_part_of_a_staged_cut_is_not_left_in_it(join, tmp_path, spool) -> None:
    with join.good(tmp_path) as source:
        cut = source.cut(spool, discard)
    names = {path.name for path in cut.root.rglob("*") if path.is_file()}
    assert names in (
        {"b"},
        {"file"},
        {"dump.sql"},
        {"shard-0.snapshot", "collection.json"},
    )


def test_a_source_that_cannot_be_cut_says_so_by_its_name(join, tmp_path, spool) -> None:
    with join.bad(tmp_path) as source:
        with pytest.raises(SourceUnreadable, match="it") as caught:
            source.cut(spool, discard)
    assert caught.value.hint


def test_a_folder_is_cut_through_the_link_to_it_and_is_not_staged(tmp_path, spool) -> None:
    with tree(tmp_path) as source:
        cut = source.cut(spool, discard)
    assert (cut.root, cut.exclude.patterns) == (tmp_path / "real", ("*.tmp",))
    assert cut.exclude.shown == str(tmp_path / "link")
    assert list(spool.iterdir()) == []


def test_a_file_is_no_tree(tmp_path, spool) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SourceUnreadable):
        TreeFolder("t", str(tmp_path / "file"), exclude=Excludes(), clock=CLOCK).cut(spool, discard)


def test_a_command_that_fails_is_told_by_its_last_words_and_no_shell_runs_it(spool) -> None:
    with command(spool, "import sys; sys.exit('disk on fire')") as source:
        with pytest.raises(SourceUnreadable, match="ended with 1: disk on fire"):
            source.cut(spool, discard)
    argv = ("echo", "$HOME; exit 3")
    for folder in ("again", "hostile"):
        (spool / folder).mkdir()
    cut = CommandOutput("c", argv, filename="out", clock=CLOCK).cut(spool / "again", discard)
    assert (cut.root / "out").read_bytes() == b"$HOME; exit 3\n"
    with pytest.raises(SourceUnreadable, match="no file name"):
        CommandOutput("c", argv, filename="../x", clock=CLOCK).cut(spool / "hostile", discard)


@pytest.fixture(scope="module")
def two_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[QdrantRest]]:
    folder = tmp_path_factory.mktemp("qdrant")
    with qdrant(folder / "one") as one, qdrant(folder / "two") as two:
        yield [one, two]


def emptied(rest: QdrantRest) -> QdrantRest:
    for name in rest.collections():
        rest.delete(name)
    return rest


@pytest.fixture
def server(two_servers: list[QdrantRest]) -> QdrantRest:
    rest = emptied(two_servers[0])
    fill(rest)
    return rest


@pytest.fixture
def empty(two_servers: list[QdrantRest]) -> QdrantRest:
    return emptied(two_servers[1])


def cut_of(rest: QdrantRest, spool: Path, emit=discard):
    return QdrantServer("q", rest, collections=None, clock=SystemClock()).cut(spool, emit)


class Meddling(QdrantRest):
    """Runs `meddle` once, right after the first shard was streamed."""

    def __init__(self, rest: QdrantRest, meddle: Callable[[], None]) -> None:
        super().__init__(rest.url)
        self.meddle: Callable[[], None] | None = meddle
        self.always = False

    def download_shard(self, collection: str, shard: int, into: Path) -> tuple[int, str]:
        taken = super().download_shard(collection, shard, into)
        if self.meddle:
            self.meddle()
            self.meddle = self.meddle if self.always else None
        return taken


def test_Q1_counts_and_answers_come_from_the_snapshot_and_not_from_the_server(
    server, spool
) -> None:
    path = "/collections/memories-v1/points/delete"

    def write() -> None:
        server._ask("POST", path, {"points": [1, 2, 3]}, params={"wait": "true"})

    cut = cut_of(Meddling(server, write), spool)
    facts = cut.facts["collections"]["memories-v1"]
    assert (facts["points"], facts["live_points"], facts["opened"]) == (39, [39, 36], True)
    assert len(facts["queries"]) == 3
    assert all(query["ids"] and query["limit"] == len(query["ids"]) for query in facts["queries"])


def test_Q2_an_alias_that_moved_in_the_middle_means_that_part_again(server, spool) -> None:
    seen: list[Event] = []
    meddling = Meddling(server, lambda: point_to(server, "late", "memories-v1"))
    cut = cut_of(meddling, spool, seen.append)
    assert cut.facts["collections"]["memories-v1"]["aliases"] == ["late", "memories"]
    described = json.loads((cut.root / "memories-v1/collection.json").read_text())
    assert described["aliases"] == ["late", "memories"]
    assert any(isinstance(each, Note) and "cut again" in each.text for each in seen)


def test_Q2_a_collection_that_came_or_went_meanwhile_is_there_or_not(server, spool) -> None:
    cut = cut_of(Meddling(server, lambda: fill(server, "new", "newest")), spool)
    assert set(cut.facts["collections"]) == {"memories-v1", "new"}
    assert {path.name for path in cut.root.iterdir()} == {"memories-v1", "new"}


def test_Q2_what_never_rests_is_not_cut(server, spool) -> None:
    numbers = iter(range(100))
    meddling = Meddling(server, lambda: point_to(server, f"a{next(numbers)}", "memories-v1"))
    meddling.always = True
    with pytest.raises(SourceUnreadable, match="changed during each"):
        cut_of(meddling, spool)


def held(server):
    """How many points each collection has, and its aliases."""
    rest = QdrantRest(server.url, None)
    aliases = rest.aliases()
    return {name: (rest.count(name), aliases_of(aliases, name)) for name in rest.collections()}


def test_what_was_restored_holds_the_same_points_aliases_and_answers(server, empty, spool) -> None:
    cut = cut_of(server, spool)
    report = restore_qdrant(cut.root, empty.url, None, names={}, emit=discard)
    assert [(each.restored_as, each.points) for each in report.collections] == [("memories-v1", 39)]
    assert held(empty) == held(server)
    for query in cut.facts["collections"]["memories-v1"]["queries"]:
        found = empty.query(
            "memories-v1", query["vector"], using=query["using"], limit=query["limit"]
        )
        assert found == query["ids"]


def test_an_empty_collection_and_one_without_dense_vectors_are_restored_and_proved(
    server, empty, spool
) -> None:
    server.create("nothing", {"vectors": {"size": 4, "distance": "Dot"}})
    server.create("sparse", {"sparse_vectors": {"words": {}}})
    vectors = {"words": {"indices": [1, 5], "values": [0.5, 0.5]}}
    points = [{"id": n, "vector": vectors} for n in range(1500)]
    path = "/collections/sparse/points"
    server._ask("PUT", path, {"points": points}, params={"wait": "true"})
    cut = cut_of(server, spool)
    restore_qdrant(cut.root, empty.url, None, names={}, emit=discard)
    proofs = verify_qdrant(cut.facts, empty.url, None)
    assert [proof for proof in proofs if not proof.passed] == []
    asked = {(proof.subject.split()[0], proof.check) for proof in proofs}
    assert {check for name, check in asked if name == "nothing"} == {
        "qdrant count",
        "qdrant aliases",
    }
    assert ("sparse", "qdrant ids") in asked
    empty._ask("POST", f"{path}/delete", {"points": [1400]}, params={"wait": "true"})
    empty._ask("PUT", path, {"points": [{"id": 9999, "vector": vectors}]}, params={"wait": "true"})
    failed = [
        proof.check for proof in verify_qdrant(cut.facts, empty.url, None) if not proof.passed
    ]
    assert failed == ["qdrant ids"]


def test_R7_a_name_that_is_taken_is_refused_and_nothing_is_changed(server, spool) -> None:
    fill(server, "second", "other")
    cut = cut_of(server, spool)
    before = held(server)
    for names in ({}, {"memories-v1": "x"}, {"memories-v1": "x", "second": "y"}):
        with pytest.raises(GuardRefused, match="there already"):
            restore_qdrant(cut.root, server.url, None, names=names, emit=discard)
    assert held(server) == before


def test_R7_only_what_a_restore_made_for_the_same_purpose_is_dropped(server, empty, spool) -> None:
    cut = cut_of(server, spool)
    restore_qdrant(cut.root, empty.url, None, names={}, emit=discard, made_for="run-1")
    for rest, made_for in ((empty, "run-2"), (server, "run-1")):
        with pytest.raises(GuardRefused, match="nothing was deleted"):
            drop_restored(rest.url, None, names=["memories-v1"], made_for=made_for)
        assert rest.count("memories-v1") == 39
    dropped = drop_restored(empty.url, None, names=["memories-v1", "absent"], made_for="run-1")
    assert dropped == ("memories-v1",)
    assert held(empty) == {}


@pytest.mark.parametrize("how", ["flipped", "shorter"])
def test_a_damaged_snapshot_is_named_before_anything_is_made(server, empty, spool, how) -> None:
    cut = cut_of(server, spool)
    damaged = cut.root / "memories-v1" / "shard-0.snapshot"
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content if how == "flipped" else content[:-5000])
    with pytest.raises(DamagedData, match=r"shard-0\.snapshot"):
        restore_qdrant(cut.root, empty.url, None, names={}, emit=discard)
    assert empty.collections() == []


@pytest.mark.parametrize("version", ["1.18.9", "1.20.0", "1.19.7"])
def test_a_server_of_another_minor_or_an_older_patch_is_refused(
    server, empty, spool, version
) -> None:
    cut = cut_of(server, spool)
    path = cut.root / "memories-v1" / "collection.json"
    path.write_text(path.read_text().replace('"1.19.0"', f'"{version}"'))
    with pytest.raises(GuardRefused, match=version):
        restore_qdrant(cut.root, empty.url, None, names={}, emit=discard)
    assert empty.collections() == []


def test_Q3_an_upload_that_timed_out_is_polled_and_never_sent_again(
    server, empty, spool, monkeypatch
) -> None:
    cut = cut_of(server, spool)
    sent = []

    class Slow(QdrantRest):
        def upload_shard(self, *arguments) -> None:
            sent.append(arguments)
            super().upload_shard(*arguments)
            raise NoAnswer("it timed out", hint="", sent=True, timed_out=True)

    monkeypatch.setattr(qdrant_restore, "QdrantRest", Slow)
    report = restore_qdrant(cut.root, empty.url, None, names={}, emit=discard)
    assert len(sent) == 1
    assert report.collections[0].points == 39


def test_Q3_an_upload_that_had_no_effect_fails_in_the_end_and_is_not_sent_again(
    server, empty, spool, monkeypatch
) -> None:
    cut = cut_of(server, spool)
    sent = []

    class Lost(QdrantRest):
        def upload_shard(self, *arguments) -> None:
            sent.append(arguments)
            raise NoAnswer("it timed out", hint="", sent=True, timed_out=True)

    monkeypatch.setattr(qdrant_restore, "QdrantRest", Lost)
    monkeypatch.setattr(qdrant_restore, "_POLL_S", 200)
    with pytest.raises(PlaceError) as caught:
        restore_qdrant(cut.root, empty.url, None, names={}, emit=discard, clock=ManualClock())
    assert "39 in the snapshot" in caught.value.message
    assert len(sent) == 1
