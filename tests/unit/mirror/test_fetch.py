"""What is fetched is whole and right, or has no name; a fetch is carried on, never begun again."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from drkit.clock import ManualClock
from drkit.errors import DamagedData, GuardRefused, PlaceError
from drkit.events import Event, Note, Progress, discard
from drkit.mirror.fetch import fetch_ticket
from drkit.mirror.manifest import Manifest
from drkit.mirror.ticket import Ticket, mint_ticket
from drkit.mirror.write import mirror_weights
from drkit.stores.folder import FolderStore
from drkit.stores.interface import StoreRefused, StoreUnreachable


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore("disk", tmp_path / "store")


@pytest.fixture
def ticket(model: Path, store: FolderStore, tmp_path: Path) -> Ticket:
    report = mirror_weights(
        model,
        model="tiny",
        revision="r1",
        stores=[store],
        cache=tmp_path / "cache",
        emit=discard,
    )
    return mint_ticket([store], report.manifest, expires_s=600, clock=ManualClock())


def fetch(ticket: Ticket, into: Path) -> int:
    return fetch_ticket(ticket, into, clock=ManualClock(), emit=discard).bytes


def same(model: Path, into: Path, manifest: Manifest) -> bool:
    found = {path.relative_to(into).as_posix() for path in into.rglob("*") if path.is_file()}
    return found == {entry.path for entry in manifest.files} and all(
        (into / path).read_bytes() == (model / path).read_bytes() for path in found
    )


def test_every_file_is_fetched_and_no_part_is_left(
    model: Path, ticket: Ticket, tmp_path: Path
) -> None:
    events: list[Event] = []
    into = tmp_path / "deep" / "into"
    report = fetch_ticket(ticket, into, clock=ManualClock(), emit=events.append)
    assert same(model, into, ticket.manifest)
    assert (report.files, report.bytes) == (5, ticket.manifest.total_bytes)
    last = events[-1]
    assert isinstance(last, Progress)
    assert last.done == last.total == ticket.manifest.total_bytes


def test_right_files_are_kept_and_wrong_ones_replaced(
    model: Path, ticket: Ticket, tmp_path: Path
) -> None:
    into = tmp_path / "into"
    fetch(ticket, into)
    kept = (into / "config.json").stat().st_ino
    assert fetch(ticket, into) == 0
    data = bytearray((into / "extra/notes.txt").read_bytes())
    data[0] ^= 1
    (into / "extra/notes.txt").write_bytes(data)
    assert fetch(ticket, into) == 5
    assert same(model, into, ticket.manifest)
    assert (into / "config.json").stat().st_ino == kept


@pytest.mark.parametrize("kept", [1, 1000, 5000])
def test_a_part_is_carried_on_with(model: Path, ticket: Ticket, tmp_path: Path, kept: int) -> None:
    into = tmp_path / "into"
    into.mkdir()
    shard = ticket.manifest.files[-1]
    (into / f"{shard.path}.part").write_bytes((model / shard.path).read_bytes()[:kept])
    assert fetch(ticket, into) == ticket.manifest.total_bytes - kept
    assert same(model, into, ticket.manifest)


@pytest.mark.parametrize("left", [b"wrong" * 10, b"\0" * 1_000_000])
def test_a_part_that_is_wrong_or_too_long_is_begun_again(
    model: Path, ticket: Ticket, tmp_path: Path, left: bytes
) -> None:
    into = tmp_path / "into"
    into.mkdir()
    (into / f"{ticket.manifest.files[-1].path}.part").write_bytes(left)
    fetch(ticket, into)
    assert same(model, into, ticket.manifest)


def test_damage_in_the_store_is_named_by_file_and_never_gets_its_name(
    ticket: Ticket, store: FolderStore, tmp_path: Path
) -> None:
    shard = ticket.manifest.files[-1].path
    damaged = store.root / "weights/tiny/r1" / shard
    data = bytearray(damaged.read_bytes())
    data[-1] ^= 1
    damaged.write_bytes(data)
    with pytest.raises(DamagedData, match=shard):
        fetch(ticket, tmp_path / "into")
    assert not (tmp_path / "into" / shard).exists()
    assert not (tmp_path / "into" / f"{shard}.part").exists()


@pytest.fixture
def two(model: Path, tmp_path: Path) -> tuple[list[FolderStore], Ticket]:
    """A model on two stores, and a ticket for both."""
    stores = [FolderStore(name, tmp_path / name) for name in ("gcs", "s3")]
    report = mirror_weights(
        model, model="tiny", revision="r1", stores=stores, cache=tmp_path / "c", emit=discard
    )
    return stores, mint_ticket(stores, report.manifest, expires_s=600, clock=ManualClock())


@pytest.mark.parametrize("harm", [lambda path: path.write_bytes(b"x" * 18), Path.unlink])
def test_what_one_store_damaged_or_lost_comes_from_the_next_one(
    model: Path, two: tuple[list[FolderStore], Ticket], tmp_path: Path, harm
) -> None:
    stores, ticket = two
    harm(stores[0].root / "weights/tiny/r1/config.json")
    events: list[Event] = []
    fetch_ticket(ticket, tmp_path / "into", clock=ManualClock(), emit=events.append)
    assert same(model, tmp_path / "into", ticket.manifest)
    (warned,) = [event for event in events if isinstance(event, Note)]
    assert (warned.level, warned.subject) == ("warning", "gcs")
    assert "config.json" in warned.text


def test_what_every_store_damaged_is_named_with_all_of_them(
    two: tuple[list[FolderStore], Ticket], tmp_path: Path
) -> None:
    stores, ticket = two
    for store in stores:
        (store.root / "weights/tiny/r1/config.json").write_bytes(b"x" * 18)
    with pytest.raises(DamagedData, match=r"config\.json whole: .* gcs .* s3 "):
        fetch(ticket, tmp_path / "into")
    assert not (tmp_path / "into/config.json").exists()


def test_an_object_that_is_longer_than_the_manifest_says_is_damage(
    ticket: Ticket, store: FolderStore, tmp_path: Path
) -> None:
    with (store.root / "weights/tiny/r1/config.json").open("ab") as file:
        file.write(b" ")
    with pytest.raises(DamagedData, match=r"config\.json"):
        fetch(ticket, tmp_path / "into")
    assert not (tmp_path / "into/config.json").exists()


def test_a_truncated_object_is_an_error_that_says_how_far_it_came(
    ticket: Ticket, store: FolderStore, tmp_path: Path
) -> None:
    os.truncate(store.root / "weights/tiny/r1/config.json", 4)
    with pytest.raises(StoreUnreachable, match="4 of 18"):
        fetch(ticket, tmp_path / "into")


def test_a_lost_object_is_an_error(ticket: Ticket, store: FolderStore, tmp_path: Path) -> None:
    (store.root / "weights/tiny/r1/config.json").unlink()
    with pytest.raises(StoreRefused, match=r"config\.json"):
        fetch(ticket, tmp_path / "into")


def test_an_expired_ticket_fetches_nothing(ticket: Ticket, tmp_path: Path) -> None:
    clock = ManualClock()
    clock.advance(600)
    with pytest.raises(PlaceError, match="expired"):
        fetch_ticket(ticket, tmp_path / "into", clock=clock, emit=discard)
    assert not (tmp_path / "into").exists()


@pytest.mark.parametrize("where", ["extra", "config.json", "config.json.part"])
def test_nothing_is_written_through_a_link(ticket: Ticket, tmp_path: Path, where: str) -> None:
    into, outside = tmp_path / "into", tmp_path / "outside"
    into.mkdir()
    outside.mkdir()
    (outside / "victim").write_text("kept")
    (into / where).symlink_to(outside if where == "extra" else outside / "victim")
    with pytest.raises((GuardRefused, PlaceError)):
        fetch(ticket, into)
    assert [path.name for path in outside.iterdir()] == ["victim"]
    assert (outside / "victim").read_text() == "kept"


@pytest.mark.parametrize(
    "url", ["http://example.org/x", "ftp://127.0.0.1/x", "/etc/passwd", "file://host/x"]
)
def test_urls_of_other_kinds_are_refused(ticket: Ticket, tmp_path: Path, url: str) -> None:
    other = replace(ticket, urls=dict.fromkeys(ticket.urls, (("elsewhere", url),)))
    with pytest.raises(StoreRefused):
        fetch(other, tmp_path / "into")
