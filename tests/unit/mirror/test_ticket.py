"""A ticket opens with its own key only, carries one model, and does not show its URLs."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from drkit.clock import ManualClock
from drkit.errors import DamagedData, PlaceError, WrongKey
from drkit.mirror.manifest import FileEntry, Manifest
from drkit.mirror.ticket import Ticket, mint_ticket, open_ticket, seal_ticket
from drkit.stores.folder import FolderStore
from drkit.stores.interface import StoreRefused
from drkit.stores.memory import MemoryStore

KEY = bytes(range(32))
MANIFEST = Manifest("tiny", "r1", (FileEntry("a b", 1, hashlib.sha256(b"x").hexdigest()),))


@pytest.fixture
def ticket(tmp_path: Path) -> Ticket:
    return mint_ticket([FolderStore("s", tmp_path)], MANIFEST, expires_s=60, clock=ManualClock())


def test_it_names_the_urls_of_each_file_and_its_end(ticket: Ticket, tmp_path: Path) -> None:
    assert ticket.urls == {"a b": (("s", (tmp_path / "weights/tiny/r1/a b").as_uri()),)}
    assert (ticket.expires_at - ManualClock().now()).total_seconds() == 60


class Unsigned(FolderStore):
    """Its credentials may read, and sign nothing."""

    def presign(self, name: str, expires_s: float) -> str:
        raise StoreRefused(f"{self.name}: its credentials cannot sign links", hint="a key may")


def test_a_store_whose_key_cannot_sign_is_left_out(tmp_path: Path) -> None:
    stores = [Unsigned("gcs", tmp_path), MemoryStore("ram"), FolderStore("s3", tmp_path)]
    ticket = mint_ticket(stores, MANIFEST, expires_s=60, clock=ManualClock())
    assert [store for store, _ in ticket.urls["a b"]] == ["s3"]


def test_when_no_store_can_sign_the_reason_of_each_is_said(tmp_path: Path) -> None:
    stores = [Unsigned("gcs", tmp_path), MemoryStore("ram")]
    with pytest.raises(PlaceError, match=r"gcs: its credentials cannot sign links; ram has no"):
        mint_ticket(stores, MANIFEST, expires_s=60, clock=ManualClock())


def test_what_was_sealed_is_opened_with_the_same_key(ticket: Ticket) -> None:
    assert open_ticket(seal_ticket(ticket, KEY), KEY) == ticket


def test_sealing_hides_and_never_gives_the_same_bytes(ticket: Ticket) -> None:
    sealed = seal_ticket(ticket, KEY)
    assert b"file:" not in sealed
    assert b"tiny" not in sealed
    assert seal_ticket(ticket, KEY) != sealed
    assert "file:" not in repr(ticket)


def test_another_key_does_not_open_it(ticket: Ticket) -> None:
    with pytest.raises(WrongKey):
        open_ticket(seal_ticket(ticket, KEY), bytes(32))


def test_a_flipped_bit_anywhere_is_noticed(ticket: Ticket) -> None:
    sealed = seal_ticket(ticket, KEY)
    for at in range(0, len(sealed), 11):
        damaged = bytearray(sealed)
        damaged[at] ^= 1
        with pytest.raises((WrongKey, DamagedData)):
            open_ticket(bytes(damaged), KEY)
    for cut in (0, 5, 20, len(sealed) - 1):
        with pytest.raises((WrongKey, DamagedData)):
            open_ticket(sealed[:cut], KEY)


def test_a_ticket_whose_urls_are_not_those_of_its_files_is_refused(ticket: Ticket) -> None:
    other = Ticket(ticket.manifest, {"../x": (("s", "file:///x"),)}, ticket.expires_at)
    with pytest.raises(DamagedData):
        open_ticket(seal_ticket(other, KEY), KEY)


def test_a_short_key_is_not_taken(ticket: Ticket) -> None:
    with pytest.raises(ValueError, match="32"):
        seal_ticket(ticket, b"short")
