"""What only a folder can meet: damaged files, a kept lock, odd names, links."""

from __future__ import annotations

import fcntl
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from drkit.coordination.codec import MOST_BYTES, decode, encode
from drkit.coordination.folder import FolderPlace
from drkit.coordination.interface import ArbiterUnreachable, Lease, RoleRecord
from drkit.coordination.rules import ServiceState

LEASE = Lease("chat", "a", 60, "t")
STATE = ServiceState(
    LEASE, RoleRecord("chat", 3, "lambda", None, datetime(2026, 1, 1, tzinfo=UTC), None, ("x",))
)
GOOD = encode(STATE)


def test_a_state_is_read_back_the_same() -> None:
    assert decode(GOOD, service="chat", found_in="here") == STATE
    assert decode(encode(ServiceState()), service="x", found_in="here") == ServiceState()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"{}",
        GOOD[:-5],
        GOOD.replace(b'"drkit": 1', b'"drkit": 2'),
        GOOD.replace(b'"epoch": 3', b'"epoch": "3"'),
        GOOD.replace(b'"epoch": 3', b'"epoch": true'),
        GOOD.replace(b'"ttl_s": 60', b'"ttl_s": -60'),
        GOOD.replace(b'"ttl_s": 60', b'"ttl_s": 1e300'),
        GOOD.replace(b"+00:00", b""),
        GOOD.replace(b'"token": "t"', b'"token": 7'),
        GOOD.replace(b'"chat"', b'"other"'),
        GOOD + b" " * MOST_BYTES,
    ],
)
def test_R1_a_damaged_state_is_unreadable_and_never_free(tmp_path: Path, data: bytes) -> None:
    place = FolderPlace(tmp_path)
    place.change("chat", lambda _state: STATE)
    file = next(tmp_path.glob("*.json"))
    file.write_bytes(data)
    with pytest.raises(ArbiterUnreachable, match=str(file)):
        place.read("chat")
    with pytest.raises(ArbiterUnreachable):
        place.change("chat", lambda _state: ServiceState(LEASE))
    assert file.read_bytes() == data


def test_what_a_step_raises_changes_nothing_and_frees_the_lock(tmp_path: Path) -> None:
    place = FolderPlace(tmp_path, patience_s=0)
    place.change("chat", lambda _state: STATE)

    def breaking(_state: ServiceState) -> ServiceState:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        place.change("chat", breaking)
    assert place.change("chat", lambda state: state) == STATE


def test_a_lock_that_is_kept_is_an_error_with_words_and_reading_still_works(
    tmp_path: Path,
) -> None:
    place = FolderPlace(tmp_path, patience_s=0.05)
    place.change("chat", lambda _state: STATE)
    handle = os.open(next(tmp_path.glob("*.lock")), os.O_RDWR)
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        with pytest.raises(ArbiterUnreachable, match="kept the lock"):
            place.change("chat", lambda _state: ServiceState())
        assert place.read("chat") == STATE
    finally:
        os.close(handle)
    place.change("chat", lambda _state: ServiceState())


def test_a_change_is_synced_before_it_returns(tmp_path: Path, synced: list[str]) -> None:
    FolderPlace(tmp_path / "new").change("chat", lambda _state: STATE)
    assert synced[-1] == str(tmp_path / "new")
    assert synced[-2].endswith(".tmp")
    assert str(tmp_path) in synced


@pytest.mark.parametrize("service", ["chat/drill", "../escape", "a b", ".", "caf\u00e9"])
def test_a_services_name_never_leaves_the_folder(tmp_path: Path, service: str) -> None:
    place = FolderPlace(tmp_path / "arbiter")
    lease = Lease(service, "a", 60, "t")
    place.change(service, lambda _state: ServiceState(lease))
    assert place.read(service).lease == lease
    assert [path.name for path in tmp_path.iterdir()] == ["arbiter"]
    assert all(path.is_file() for path in (tmp_path / "arbiter").iterdir())


def test_a_folder_that_cannot_be_written_is_unreachable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ArbiterUnreachable, match="file"):
        FolderPlace(tmp_path / "file").change("chat", lambda _state: STATE)
