"""One read, every store; a store that fails is told and stops no other; the manifest is last."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from drkit.errors import ConfigError, DamagedData, GuardRefused
from drkit.events import Event, Note, StoreLagging, discard
from drkit.mirror import write
from drkit.mirror.files import WeightFile
from drkit.mirror.manifest import Manifest
from drkit.mirror.write import MirrorReport, mirror_weights
from drkit.sources.interface import SourceUnreadable
from drkit.stores.interface import Store
from drkit.stores.memory import MemoryStore, Trouble

PREFIX = "weights/tiny/r1/"


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write, "CHUNK_BYTES", 512)


@pytest.fixture
def stores() -> Iterator[list[MemoryStore]]:
    made = [MemoryStore("one"), MemoryStore("two"), MemoryStore("three")]
    yield made
    for store in made:
        store.close()


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Paths of the files that were opened, in order."""
    opened: list[str] = []
    real = write._Mirroring._read

    def note(job: write._Mirroring, file: WeightFile, writers: Sequence[object]) -> object:
        opened.append(file.path)
        return real(job, file, writers)  # type: ignore[arg-type]

    monkeypatch.setattr(write._Mirroring, "_read", note)
    return opened


def mirror(model: Path, stores: Sequence[Store], events: list[Event] | None = None) -> MirrorReport:
    emit = discard if events is None else events.append
    return mirror_weights(
        model,
        model="tiny",
        revision="r1",
        stores=stores,
        cache=model.parent / "cache.json",
        emit=emit,
        patience_s=0.5,
    )


def complete(report: MirrorReport) -> list[str]:
    return [result.store for result in report.stores if result.complete]


def test_each_file_is_read_once_and_lies_plain_in_every_store(
    model: Path, stores: list[MemoryStore], reads: list[str], tensors: dict[str, bytes]
) -> None:
    report = mirror(model, stores)
    assert complete(report) == ["one", "two", "three"]
    assert len(reads) == len(set(reads)) == 5
    assert report.bytes_read == report.manifest.total_bytes
    for store in stores:
        for entry in report.manifest.files:
            data = store.objects[PREFIX + entry.path]
            assert data == (model / entry.path).read_bytes()
            assert entry.sha256 == hashlib.sha256(data).hexdigest()
        found = Manifest.from_bytes(store.objects[PREFIX + "manifest.json"], found_in=store.name)
        assert found == report.manifest
    hashed = {tensor.name: tensor.sha256 for f in report.manifest.files for tensor in f.tensors}
    assert hashed == {name: hashlib.sha256(data).hexdigest() for name, data in tensors.items()}


def test_the_manifest_is_put_last(model: Path, stores: list[MemoryStore]) -> None:
    mirror(model, stores)
    for store in stores:
        put = [name for call, name in store.calls if call == "put"]
        assert put[-1] == PREFIX + "manifest.json"
        assert put.count(PREFIX + "manifest.json") == 1


def test_an_unchanged_directory_is_not_read_again_and_nothing_is_sent(
    model: Path, stores: list[MemoryStore], reads: list[str]
) -> None:
    first = mirror(model, stores)
    reads.clear()
    second = mirror(model, stores)
    assert reads == []
    assert second.bytes_read == 0
    assert second.manifest == first.manifest
    assert [result.bytes_sent for result in second.stores] == [0, 0, 0]
    assert complete(second) == ["one", "two", "three"]


def test_listings_are_compared_each_time_and_what_vanished_is_sent_again(
    model: Path, stores: list[MemoryStore], reads: list[str]
) -> None:
    mirror(model, stores)
    reads.clear()
    del stores[0].objects[PREFIX + "config.json"]
    stores[1].objects[PREFIX + "extra/notes.txt"] = b"abo"
    del stores[2].objects[PREFIX + "manifest.json"]
    report = mirror(model, stores)
    assert sorted(reads) == ["config.json", "extra/notes.txt"]
    assert complete(report) == ["one", "two", "three"]
    assert stores[0].objects == stores[1].objects == stores[2].objects
    assert [r.bytes_sent for r in report.stores][:2] == [18, 5]


def test_without_the_cache_the_stores_are_asked_and_nothing_is_sent_again(
    model: Path, stores: list[MemoryStore], reads: list[str]
) -> None:
    first = mirror(model, stores)
    (model.parent / "cache.json").write_text("{ damaged")
    reads.clear()
    second = mirror(model, stores)
    assert len(reads) == 5
    assert second.manifest == first.manifest
    assert [result.bytes_sent for result in second.stores] == [0, 0, 0]


@pytest.mark.parametrize(
    "trouble", [Trouble.UNREACHABLE, Trouble.REFUSES, Trouble.HANGS, Trouble.CRAWLS]
)
@pytest.mark.parametrize("after", [0, 2, 5], ids=["all", "some", "the manifest"])
def test_a_store_that_fails_is_told_and_stops_no_other(
    model: Path, stores: list[MemoryStore], trouble: Trouble, after: int
) -> None:
    stores[1].fail(trouble, calls={"put"}, after=after)
    events: list[Event] = []
    report = mirror(model, stores, events)
    assert complete(report) == ["one", "three"]
    assert "two" in report.stores[1].reason
    assert PREFIX + "manifest.json" not in stores[1].objects
    assert [event.store for event in events if isinstance(event, StoreLagging)] == ["two"]
    stores[1].mend()
    caught_up = mirror(model, stores)
    assert complete(caught_up) == ["one", "two", "three"]
    assert stores[0].objects == stores[1].objects


def test_a_store_that_cannot_be_listed_is_told_and_stops_no_other(
    model: Path, stores: list[MemoryStore]
) -> None:
    stores[0].fail(Trouble.UNREACHABLE)
    report = mirror(model, stores)
    assert complete(report) == ["two", "three"]
    assert "does not answer" in report.stores[0].reason


def test_an_unknown_error_of_a_store_is_a_failure_of_that_store_only(
    model: Path, stores: list[MemoryStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_args: object, **_named: object) -> None:
        raise ZeroDivisionError("bug in an SDK")

    monkeypatch.setattr(stores[0], "put", broken)
    report = mirror(model, stores)
    assert complete(report) == ["two", "three"]
    assert "ZeroDivisionError" in report.stores[0].reason


def test_when_every_store_fails_the_report_says_so(model: Path, stores: list[MemoryStore]) -> None:
    for store in stores:
        store.fail(Trouble.REFUSES, calls={"put"})
    assert complete(mirror(model, stores)) == []


def test_what_was_sent_before_a_failure_is_not_sent_again(
    model: Path, stores: list[MemoryStore]
) -> None:
    stores[0].puts_left = 3
    first = mirror(model, stores[:1])
    assert complete(first) == []
    stores[0].puts_left = None
    second = mirror(model, stores[:1])
    assert complete(second) == ["one"]
    put = [name for call, name in stores[0].calls if call == "put"]
    assert put.count(PREFIX + "config.json") == 1
    assert len(put) == 7  # 3 stored, 1 refused, that one and the last file again, the manifest


def test_an_object_of_the_right_size_that_nobody_vouches_for_is_sent_again(
    model: Path, stores: list[MemoryStore]
) -> None:
    stores[0].objects[PREFIX + "extra/notes.txt"] = b"other"
    mirror(model, stores)
    assert stores[0].objects[PREFIX + "extra/notes.txt"] == b"about"


@pytest.mark.parametrize("lost", [False, True], ids=["still there", "lost in the store"])
@pytest.mark.parametrize("cached", [False, True])
def test_another_content_under_the_same_revision_never_replaces_a_mirror(
    model: Path, stores: list[MemoryStore], cached: bool, lost: bool
) -> None:
    shard = "model-00002-of-00002.safetensors"
    mirror(model, stores[:2])
    if lost:
        del stores[0].objects[PREFIX + shard]
    before = [dict(store.objects) for store in stores[:2]]
    if not cached:
        (model.parent / "cache.json").unlink()
    data = bytearray((model / shard).read_bytes())
    data[-1] ^= 1
    (model / shard).write_bytes(data)
    for store in stores:
        store.calls.clear()
    with pytest.raises(GuardRefused, match=f"{shard} is not what one holds"):
        mirror(model, stores)
    assert [store.objects for store in stores[:2]] == before
    assert "put" not in {call for store in stores[:2] for call, _ in store.calls}
    assert PREFIX + "manifest.json" not in stores[2].objects


def test_another_content_that_is_known_from_before_is_refused_without_reading(
    model: Path, stores: list[MemoryStore], reads: list[str]
) -> None:
    mirror(model, stores[:1])
    (model.parent / "cache.json").unlink()
    (model / "extra" / "notes.txt").write_text("ABOUT")
    mirror(model, stores[1:])
    reads.clear()
    with pytest.raises(GuardRefused, match=r"extra/notes\.txt is not what one holds"):
        mirror(model, stores[:1])
    assert reads == []
    assert stores[0].objects[PREFIX + "extra/notes.txt"] == b"about"


def test_bytes_that_changed_while_the_time_did_not_are_damage(
    model: Path, stores: list[MemoryStore]
) -> None:
    mirror(model, stores[:1])
    file = model / "config.json"
    before = file.stat()
    file.write_bytes(b"x" * before.st_size)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(DamagedData, match=r"config\.json"):
        mirror(model, stores)
    assert PREFIX + "manifest.json" not in stores[1].objects


@pytest.mark.parametrize("mode", ["ab", "r+b"], ids=["it grows", "it is rewritten"])
def test_a_file_that_changes_while_it_is_read_becomes_no_object(
    model: Path, stores: list[MemoryStore], mode: str
) -> None:
    file = model / "model-00001-of-00002.safetensors"
    changed: list[bool] = []

    def change(event: Event) -> None:
        if "00001" in str(event) and not changed:
            changed.append(True)
            with file.open(mode) as opened:
                opened.write(b"more" * 1000)

    with pytest.raises(SourceUnreadable, match="changed while it was read"):
        mirror_weights(
            model,
            model="tiny",
            revision="r1",
            stores=stores,
            cache=model.parent / "cache.json",
            emit=change,
        )
    for store in stores:
        assert PREFIX + file.name not in store.objects
        assert PREFIX + "manifest.json" not in store.objects


def test_files_that_are_new_in_a_revision_are_added(model: Path, stores: list[MemoryStore]) -> None:
    mirror(model, stores)
    (model / "README.md").write_text("new")
    report = mirror(model, stores)
    assert "README.md" in [file.path for file in report.manifest.files]
    assert stores[0].objects[PREFIX + "README.md"] == b"new"
    assert complete(report) == ["one", "two", "three"]


def test_a_damaged_manifest_in_a_store_is_written_anew(
    model: Path, stores: list[MemoryStore]
) -> None:
    mirror(model, stores)
    stores[0].objects[PREFIX + "manifest.json"] = b"{"
    report = mirror(model, stores)
    assert complete(report) == ["one", "two", "three"]
    assert stores[0].objects == stores[1].objects


def test_a_broken_safetensors_file_is_mirrored_with_a_warning(
    model: Path, stores: list[MemoryStore]
) -> None:
    (model / "broken.safetensors").write_bytes(b"\xff" * 100)
    events: list[Event] = []
    assert complete(mirror(model, stores, events)) == ["one", "two", "three"]
    notes = [event for event in events if isinstance(event, Note)]
    assert [(note.level, note.subject) for note in notes] == [("warning", "broken.safetensors")]


def test_a_cache_that_cannot_be_written_costs_a_warning_only(
    model: Path, stores: list[MemoryStore]
) -> None:
    events: list[Event] = []
    (model.parent / "cache.json").mkdir()
    assert complete(mirror(model, stores, events)) == ["one", "two", "three"]
    assert any("cannot remember" in str(event) for event in events)


def test_names_that_leave_the_mirror_are_refused(model: Path, stores: list[MemoryStore]) -> None:
    with pytest.raises(ConfigError):
        mirror_weights(
            model,
            model="../repository",
            revision="r1",
            stores=stores,
            cache=model.parent / "cache.json",
            emit=discard,
        )
    assert stores[0].calls == []


@pytest.mark.parametrize("renamed", [False, True], ids=["gone", "under another name"])
def test_a_shard_that_is_no_more_on_this_disk_never_shrinks_a_mirror(
    model: Path, stores: list[MemoryStore], renamed: bool
) -> None:
    shard = model / "model-00002-of-00002.safetensors"
    mirror(model, stores[:2])
    before = [dict(store.objects) for store in stores[:2]]
    shard.rename(model / "model-2.safetensors") if renamed else shard.unlink()
    with pytest.raises(GuardRefused, match=f"{shard.name} of this revision, which one holds"):
        mirror(model, stores)
    assert [store.objects for store in stores[:2]] == before
    assert not stores[2].objects
