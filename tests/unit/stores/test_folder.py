"""What only a folder can meet: links, foreign files, short reads, what killed writers left."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest

from drkit.stores.folder import PARTIAL, FolderStore
from drkit.stores.interface import ObjectMissing, StoreRefused, StoreUnreachable


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore("disk", tmp_path / "root")


def names(store: FolderStore) -> set[str]:
    return {info.name for info in store.list("")}


def test_reads_that_come_in_small_pieces_are_put_together(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put("a", b"abcdefgh", size_bytes=8)
    whole = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, count, at: whole(fd, min(count, 3), at))
    assert store.get("a", offset=1) == b"bcdefgh"


def test_a_file_that_ends_early_while_it_is_read_is_an_error(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put("a", b"abcdefgh", size_bytes=8)
    whole = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, count, at: whole(fd, count, at)[: 4 - at])
    with pytest.raises(StoreUnreachable, match="too few"):
        store.get("a")


def test_a_range_is_read_into_memory_as_get_reads_it(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put("a", b"abcdefgh", size_bytes=8)
    room = bytearray(b"........")
    whole = os.preadv
    monkeypatch.setattr(os, "preadv", lambda fd, into, at: whole(fd, [into[0][:2]], at))
    store.get_into("a", memoryview(room)[:5], offset=2)
    assert room == b"cdefg..."
    with pytest.raises(StoreUnreachable, match="too few"):
        store.get_into("a", memoryview(room), offset=1)
    with pytest.raises(ObjectMissing):
        store.get_into("b", memoryview(room), offset=0)
    with pytest.raises(StoreRefused):
        store.get_into("../a", memoryview(room), offset=0)
    monkeypatch.setattr(os, "preadv", lambda fd, into, at: 0)
    with pytest.raises(StoreUnreachable, match="too few"):
        store.get_into("a", memoryview(room), offset=0)


def test_writes_that_take_small_pieces_are_carried_on(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: whole(fd, data[:3]))
    store.put("a", b"abcdefgh", size_bytes=8)
    monkeypatch.undo()
    assert store.get("a") == b"abcdefgh"


def test_file_and_folders_are_synced_before_put_returns(
    store: FolderStore, synced: list[str]
) -> None:
    store.put("a/b/c", b"x", size_bytes=1)
    root = str(store.root)
    file = next(place for place in synced if PARTIAL in place and place != f"{root}/{PARTIAL}")
    # The data before the name, the name's folder last, and every new folder's parent.
    assert synced.index(file) < synced.index(f"{root}/a/b")
    assert synced[-1] == f"{root}/a/b"
    assert {str(store.root.parent), root, f"{root}/a"} <= set(synced)


def test_partial_files_are_never_listed_nor_reachable_by_name(store: FolderStore) -> None:
    store.put("a", b"x", size_bytes=1)
    (store.root / PARTIAL / "left").write_bytes(b"half")
    assert names(store) == {"a"}
    for call in (store.get, store.stat, store.delete):
        with pytest.raises(StoreRefused):
            call(f"{PARTIAL}/left")
    assert list(store.list(PARTIAL)) == []
    assert list(store.list(f"{PARTIAL}/")) == []


def test_foreign_files_links_and_pipes_are_not_objects(store: FolderStore, tmp_path: Path) -> None:
    store.put("a/honest", b"x", size_bytes=1)
    (tmp_path / "outside").write_text("secret")
    (store.root / "a" / "link").symlink_to(tmp_path / "outside")
    (store.root / "linked").symlink_to(tmp_path)
    (store.root / "caf\u00e9").write_text("x")
    (store.root / "new\nline").write_text("x")
    os.mkfifo(store.root / "pipe")
    assert names(store) == {"a/honest"}
    with pytest.raises(StoreRefused):
        store.get("a/link")
    with pytest.raises(ObjectMissing):
        store.get("pipe")


def test_a_link_never_leads_out_of_the_store(store: FolderStore, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    store.put("a", b"x", size_bytes=1)
    (store.root / "linked").symlink_to(outside)
    with pytest.raises(StoreRefused):
        store.put("linked/new", b"x", size_bytes=1)
    with pytest.raises(StoreRefused):
        store.get("linked/kept")
    with pytest.raises(StoreRefused):
        store.delete("linked/kept")
    assert [path.name for path in outside.iterdir()] == ["kept"]


def test_a_missing_root_is_an_empty_store_until_something_is_put(store: FolderStore) -> None:
    assert names(store) == set()
    with pytest.raises(ObjectMissing):
        store.get("a")
    store.delete("a")
    assert not store.root.exists()
    store.put("a", b"x", size_bytes=1)
    assert names(store) == {"a"}


def test_a_name_that_is_a_folder_and_a_folder_that_is_a_name_are_refused(
    store: FolderStore,
) -> None:
    store.put("a/b", b"x", size_bytes=1)
    with pytest.raises(StoreRefused):
        store.put("a", b"x", size_bytes=1)
    with pytest.raises(StoreRefused):
        store.put("a/b/c", b"x", size_bytes=1)
    store.delete("a")
    assert names(store) == {"a/b"}
    assert list((store.root / PARTIAL).iterdir()) == []


def test_a_root_that_is_a_file_is_refused_with_words(tmp_path: Path) -> None:
    (tmp_path / "root").write_text("not a folder")
    with pytest.raises(StoreRefused) as caught:
        FolderStore("disk", tmp_path / "root").put("a", b"x", size_bytes=1)
    assert "disk" in caught.value.message
    assert str(tmp_path / "root") in caught.value.message
    assert (tmp_path / "root").read_text() == "not a folder"


def test_presigning_answers_a_file_uri_that_odd_names_survive(store: FolderStore) -> None:
    store.put("a b/c%20d#e", b"x", size_bytes=1)
    url = urlparse(store.presign("a b/c%20d#e", 60))
    assert url.scheme == "file"
    assert Path(unquote(url.path)).read_bytes() == b"x"
    with pytest.raises(StoreRefused):
        store.presign("../a", 60)
