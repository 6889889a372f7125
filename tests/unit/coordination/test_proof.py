"""An arbiter is believed only when it was seen refusing, and only by a clock that is right."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Any

import pytest

from drkit.clock import ManualClock
from drkit.config.stores import FolderArbiter, FolderStore
from drkit.coordination.arbiter import PlacedArbiter
from drkit.coordination.catalog import kept_proof, open_arbiter, prove_arbiter
from drkit.coordination.folder import FolderPlace
from drkit.coordination.in_store import StorePlace
from drkit.coordination.interface import ArbiterUnreachable, ClockSkewed
from drkit.coordination.memory import MemoryArbiter, MemoryPlace
from drkit.coordination.proof import ProofNote, ProvenPlace
from drkit.coordination.sightings import MemorySightings
from drkit.errors import GuardRefused
from drkit.secrets.memory import MemorySecrets
from drkit.stores.interface import Versioned
from drkit.stores.memory import MemoryStore

SECRETS = MemorySecrets({})


class Careless(MemoryStore):
    """Accepts conditions and ignores them, as some servers do."""

    def put_if_absent(self, name: str, data: bytes) -> str:
        self.put(name, data, size_bytes=len(data))
        return self.read_versioned(name).version

    def replace_if(self, name: str, data: bytes, version: str) -> str:
        return self.put_if_absent(name, data)


class Refusing(MemoryStore):
    """Refuses what it must take."""

    def replace_if(self, name: str, data: bytes, version: str) -> str:
        return super().replace_if(name, data, "another")

    def read_versioned(self, name: str) -> Versioned:
        return super().read_versioned(name)


def guarded(store: Any, folder: Path, clock: ManualClock) -> ProvenPlace:
    note = ProofNote(folder / "proof.json")
    return ProvenPlace(StorePlace(store, clock), "the store", note, clock)


@pytest.mark.parametrize("store", [Careless(), Refusing()], ids=["careless", "refusing"])
def test_R1_nothing_is_written_where_conditions_do_not_hold(store: Any, tmp_path: Path) -> None:
    clock = ManualClock()
    arbiter = PlacedArbiter(guarded(store, tmp_path, clock), MemorySightings(), clock)
    for _ in range(2):
        with pytest.raises(GuardRefused, match="conditional"):
            arbiter.acquire("chat", "a", ttl_s=60)
    assert list(store.list("")) == []
    assert list(tmp_path.iterdir()) == []


def test_R1_a_place_is_proved_once_on_each_machine_and_a_damaged_note_is_none(
    tmp_path: Path,
) -> None:
    clock, store = ManualClock(), MemoryStore()
    asked: list[int] = []
    store_place = StorePlace(store, clock)
    real = store_place.prove
    store_place.prove = lambda: (asked.append(1), real())[1]  # type: ignore[method-assign]

    def open_one(name: str = "the store") -> PlacedArbiter:
        note = ProofNote(tmp_path / "proof.json")
        return PlacedArbiter(ProvenPlace(store_place, name, note, clock), MemorySightings(), clock)

    for _ in range(3):
        open_one().acquire("chat", "a", ttl_s=60)
    assert len(asked) == 1
    open_one("another").acquire("chat", "a", ttl_s=60)
    assert len(asked) == 2
    (tmp_path / "proof.json").write_bytes(b"{")
    open_one().read_role("chat")
    assert len(asked) == 2
    open_one().acquire("chat", "a", ttl_s=60)
    assert len(asked) == 3


def test_the_proof_of_a_folder_is_kept_and_leaves_no_state(tmp_path: Path) -> None:
    clock, state = ManualClock(), tmp_path / "state"
    config = FolderArbiter(kind="folder", path=str(tmp_path / "own"))
    assert kept_proof(config, {}, state) is None
    proof = prove_arbiter(config, {}, state, SECRETS, clock)
    assert (proof.place, proof.at) == (f"folder {tmp_path}/own", clock.now())
    assert kept_proof(config, {}, state) == proof
    assert list((tmp_path / "own").iterdir()) == []
    assert kept_proof(None, {}, state) is None
    arbiter = open_arbiter(None, {}, state, SECRETS, clock)
    arbiter.acquire("chat", "a", ttl_s=60)
    stores = {"disk": FolderStore(kind="folder", role="primary", path=str(tmp_path / "d"))}
    assert kept_proof(None, stores, state) is not None


def test_R1_a_file_system_without_locks_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "flock", lambda _handle, _how: None)
    with pytest.raises(GuardRefused, match="same lock"):
        FolderPlace(tmp_path).prove()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("skew_s", [301.0, -301.0])
def test_T1_a_clock_that_is_over_five_minutes_off_may_not_lead(skew_s: float) -> None:
    place, clock = MemoryPlace(), ManualClock()
    arbiter = MemoryArbiter(clock, place)
    place.skew = skew_s
    way = "behind" if skew_s > 0 else "ahead"
    for _ in range(2):
        with pytest.raises(ClockSkewed, match=way):
            arbiter.acquire("chat", "a", ttl_s=60)
    assert arbiter.holding("chat") is None
    place.skew = 299.0
    arbiter.acquire("chat", "a", ttl_s=60)
    place.skew = skew_s
    arbiter.acquire("chat", "a", ttl_s=60)  # asked ten minutes later again
    clock.advance(601)
    with pytest.raises(ClockSkewed):
        arbiter.acquire("chat", "a", ttl_s=60)


def test_T1_a_place_whose_clock_cannot_be_asked_gives_no_lease() -> None:
    place = MemoryPlace()
    place.down = True
    with pytest.raises(ArbiterUnreachable):
        MemoryArbiter(ManualClock(), place).acquire("chat", "a", ttl_s=60)
