"""A restore whose files other processes write: the same tree, and the same words for troubles."""

from __future__ import annotations

import errno
import os
import signal
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from restore_world import back

from drkit.errors import DamagedData, PlaceError
from drkit.repository.copies.fetch import Room
from drkit.repository.format.layout import DATA
from drkit.repository.format.sealing import MasterKey
from drkit.repository.restore import restore
from drkit.repository.restore.crew import ROOM_BYTES, Crew
from drkit.repository.restore.restore import RestoreOptions
from drkit.repository.restore.writing import Written, write_range
from drkit.stores.folder import FolderStore
from drkit.stores.memory import MemoryStore

TWO = RestoreOptions(workers=2)


@pytest.fixture
def three(three: Any, kit: ModuleType, tmp_path: Path) -> Any:
    three.backup(kit.make_odd_tree(tmp_path / "source"), min_copies=3)
    return three


@pytest.fixture
def by_workers(monkeypatch: pytest.MonkeyPatch) -> list[Crew]:
    """Nothing is written before a worker has come up, and nothing by this process."""
    crews = []
    take = Crew._take

    def patient(crew: Crew) -> Any:
        crews.append(crew)
        with crew._changed:
            assert crew._changed.wait_for(lambda: crew._at_work or crew._free, 60)
        return take(crew)

    def here(*_: Any, **__: Any) -> Written:
        raise AssertionError("this process wrote itself")

    monkeypatch.setattr(Crew, "_take", patient)
    monkeypatch.setattr(restore, "write_range", here)
    return crews


def ended(crew: Crew) -> bool:
    return all(worker._process.returncode is not None for worker in crew._started)


def test_workers_bring_back_the_same_tree_and_end(
    kit: ModuleType,
    three: Any,
    tmp_path: Path,
    by_workers: list[Crew],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    report = back(three, tmp_path / "out", TWO)
    assert kit.listing(tmp_path / "out") == kit.listing(tmp_path / "source")
    monkeypatch.setattr(restore, "write_range", write_range)
    alone = back(three, tmp_path / "alone", RestoreOptions(workers=0))
    assert report == alone, "the same counts, and the same that could not be set"
    assert by_workers and ended(by_workers[0])


def test_many_small_files_are_written_by_workers_unasked(
    kit: ModuleType,
    tmp_path: Path,
    by_workers: list[Crew],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(restore, "cores", lambda: 2)
    source = tmp_path / "source"
    source.mkdir()
    for number in range(1200):  # more than one window
        (source / f"{number}").write_text(f"{number} " * (number % 50))
    alone = kit.Kit([FolderStore("gcs", tmp_path / "gcs")]).init()
    alone.backup(source)
    assert back(alone, tmp_path / "out").files == 1200
    assert kit.listing(tmp_path / "out") == kit.listing(source)
    assert len(by_workers[0]._started) == 2


def test_a_folder_is_read_right_into_the_rooms(
    kit: ModuleType,
    tmp_path: Path,
    by_workers: list[Crew],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    alone = kit.Kit([FolderStore("gcs", tmp_path / "gcs")]).init()
    alone.backup(kit.make_odd_tree(tmp_path / "source"))
    read = []
    into = FolderStore.get_into

    def counted(store: FolderStore, name: str, room: memoryview, *, offset: int) -> None:
        read.append(len(room))
        into(store, name, room, offset=offset)

    monkeypatch.setattr(FolderStore, "get_into", counted)
    back(alone, tmp_path / "out", TWO)
    assert kit.listing(tmp_path / "out") == kit.listing(tmp_path / "source")
    assert read and max(read) <= ROOM_BYTES


def test_S11_what_a_worker_finds_damaged_comes_from_another_store(
    kit: ModuleType, three: Any, tmp_path: Path, by_workers: list[Crew]
) -> None:
    first = MemoryStore("gcs")
    for name, content in three.stores[0].objects.items():
        damaged = bytearray(content)
        if name.startswith(DATA):
            damaged[:: 1 << 16] = bytes(255 - byte for byte in damaged[:: 1 << 16])
        first.objects[name] = bytes(damaged)
    three.stores[0].objects = first.objects
    back(three, tmp_path / "out", TWO)
    assert kit.listing(tmp_path / "out") == kit.listing(tmp_path / "source")
    assert any("reading another copy" in warning for warning in three.warnings)


def test_a_worker_that_is_killed_ends_the_restore_which_then_goes_on(
    kit: ModuleType,
    three: Any,
    tmp_path: Path,
    by_workers: list[Crew],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patched:
        take = Crew._take

        def doomed(crew: Crew) -> Any:
            worker = take(crew)
            os.kill(worker._process.pid, signal.SIGKILL)
            return worker

        patched.setattr(Crew, "_take", doomed)
        with pytest.raises(PlaceError, match=r"has ended \(-9\)"):
            back(three, tmp_path / "out", TWO)
    assert ended(by_workers[0])
    back(three, tmp_path / "out", TWO)
    assert kit.listing(tmp_path / "out") == kit.listing(tmp_path / "source")


def test_nobody_waits_for_a_worker_that_has_ended() -> None:
    with Crew(MasterKey.generate(), count=1, rooms=1, sparse=True) as crew:
        with crew._changed:
            assert crew._changed.wait_for(lambda: crew._free, 60)
        os.kill(crew._free[0]._process.pid, signal.SIGKILL)
        with pytest.raises(PlaceError, match="has ended"):
            crew.write(0, 0, [])
        assert crew.write(0, 0, []) is None


def test_where_no_worker_can_be_started_this_process_writes(
    kit: ModuleType, three: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for program in (tmp_path / "no-python", Path("/bin/false")):
        with monkeypatch.context() as patched:
            patched.setattr(sys, "executable", str(program))
            back(three, tmp_path / program.name, TWO)
        assert kit.listing(tmp_path / program.name) == kit.listing(tmp_path / "source")


def test_a_range_longer_than_a_room_is_written_by_this_process() -> None:
    with Crew(MasterKey.generate(), count=1, rooms=1, sparse=True) as crew:
        assert [room.number for room in crew.rooms] == [0]
        assert crew.write(None, ROOM_BYTES + 1, []) is None
        assert isinstance(crew.rooms[0], Room) and len(crew.rooms[0].view) == ROOM_BYTES


def test_workers_are_worth_it_for_many_small_blobs_and_more_than_one_core(
    three: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = []

    def counted(*arguments: Any, count: int, **options: Any) -> Crew:
        counts.append(count)
        return Crew(*arguments, count=count, **options)

    monkeypatch.setattr(restore, "cores", lambda: 2)
    monkeypatch.setattr(restore, "Crew", counted)
    back(three, tmp_path / "little")
    monkeypatch.setattr(restore, "_WORTH_WORKERS_BLOBS", 2)
    back(three, tmp_path / "much")
    with monkeypatch.context() as patched:
        patched.setattr(restore, "_LARGE_BLOB_BYTES", 10)
        back(three, tmp_path / "large")
    monkeypatch.setattr(restore, "cores", lambda: 1)
    back(three, tmp_path / "one-core")
    assert counts == [0, 2, 0, 0]


def test_what_cannot_be_written_is_told_and_the_rest_is_written(tmp_path: Path) -> None:
    import hashlib

    key = MasterKey.generate()
    blobs = [b"one" * 100, b"two" * 100]
    sealed = [key.seal(blob) for blob in blobs]
    whole = (os.getuid(), os.getgid(), 0o640, 5, 7, ())
    (tmp_path / "taken").write_text("mine")
    pieces = [
        (
            hashlib.sha256(blob).digest(),
            number * len(sealed[0]),
            len(sealed[0]),
            0,
            [(str(tmp_path / name), 0, whole) for name in names],
        )
        for number, (blob, names) in enumerate(zip(blobs, (["a", "taken"], ["b"]), strict=True))
    ]
    written = write_range(key, b"".join(sealed), pieces, sparse=True)
    assert written.unwritable == [(0, 1, errno.EEXIST)]
    assert not written.wrong
    assert (tmp_path / "taken").read_text() == "mine"
    assert (tmp_path / "a").read_bytes() == blobs[0]
    assert (tmp_path / "b").stat().st_mode & 0o777 == 0o640
    pieces[0] = (bytes(32), *pieces[0][1:])
    assert [number for number, _ in write_range(key, b"".join(sealed), pieces, sparse=True).wrong]


def test_S11_damage_everywhere_is_named_by_path_when_workers_find_it(
    kit: ModuleType, three: Any, tmp_path: Path, by_workers: list[Crew]
) -> None:
    for store in three.stores:
        for name in store.objects:
            if name.startswith(DATA):
                store.damage(name, at=len(store.objects[name]) // 2)
    with pytest.raises(DamagedData) as failure:
        back(three, tmp_path / "out", TWO)
    assert "lost in every store" in failure.value.message
    files = [path for path in (tmp_path / "out").rglob("*.md") if path.is_file()]
    for path in files:
        original = tmp_path / "source" / path.relative_to(tmp_path / "out")
        assert path.read_bytes() == original.read_bytes()
    assert files
