"""What one command saw of a lease serves the next one, until the machine restarts (T1)."""

from __future__ import annotations

from pathlib import Path

import pytest

from drkit.clock import ManualClock
from drkit.coordination.arbiter import PlacedArbiter
from drkit.coordination.interface import ArbiterUnreachable, LeaseHeld
from drkit.coordination.memory import MemoryPlace
from drkit.coordination.sightings import FolderSightings, MemorySightings, this_boot


def command(
    place: MemoryPlace, folder: Path, clock: ManualClock, boot: str = "boot-1"
) -> PlacedArbiter:
    return PlacedArbiter(place, FolderSightings(folder, boot_id=boot), clock)


@pytest.fixture
def taken() -> MemoryPlace:
    """Another machine has the lease there."""
    place = MemoryPlace()
    PlacedArbiter(place, MemorySightings(), ManualClock()).acquire("chat", "other", ttl_s=60)
    return place


def refused(place: MemoryPlace, folder: Path, clock: ManualClock, boot: str = "boot-1") -> None:
    with pytest.raises(LeaseHeld):
        command(place, folder, clock, boot).acquire("chat", "me", ttl_s=60)


def test_T1_a_second_command_carries_on_the_count_of_the_first(
    taken: MemoryPlace, tmp_path: Path
) -> None:
    clock = ManualClock()
    refused(taken, tmp_path, clock)
    clock.advance(59)
    refused(taken, tmp_path, clock)
    clock.advance(1)
    command(taken, tmp_path, clock).acquire("chat", "me", ttl_s=60)


def test_T1_after_a_restart_of_the_machine_the_count_starts_again(
    taken: MemoryPlace, tmp_path: Path
) -> None:
    clock = ManualClock()
    refused(taken, tmp_path, clock)
    clock.advance(1000)
    refused(taken, tmp_path, clock, "boot-2")


def test_T1_a_time_that_is_still_to_come_is_not_believed(
    taken: MemoryPlace, tmp_path: Path
) -> None:
    late, early = ManualClock(), ManualClock()
    late.advance(10_000)
    refused(taken, tmp_path, late)
    refused(taken, tmp_path, early)
    early.advance(60)
    command(taken, tmp_path, early).acquire("chat", "me", ttl_s=60)


def test_a_damaged_note_starts_the_count_again(taken: MemoryPlace, tmp_path: Path) -> None:
    clock = ManualClock()
    refused(taken, tmp_path, clock)
    next(tmp_path.iterdir()).write_bytes(b"{")
    clock.advance(60)
    refused(taken, tmp_path, clock)


def test_T1_a_lease_of_ones_own_is_counted_from_before_it_was_written(tmp_path: Path) -> None:
    clock = ManualClock()

    class SlowPlace(MemoryPlace):
        def change(self, service, step):  # type: ignore[no-untyped-def]
            state = super().change(service, step)
            clock.advance(30)
            return state

    place = SlowPlace()
    arbiter = command(place, tmp_path, clock)
    arbiter.acquire("chat", "me", ttl_s=60)
    clock.advance(29)
    with pytest.raises(LeaseHeld):
        command(place, tmp_path, clock).acquire("chat", "other", ttl_s=60)
    clock.advance(1)
    command(place, tmp_path, clock).acquire("chat", "other", ttl_s=60)


def test_a_note_that_cannot_be_written_stops_the_acquiring(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    place = MemoryPlace()
    with pytest.raises(ArbiterUnreachable):
        command(place, tmp_path / "file", ManualClock()).acquire("chat", "me", ttl_s=60)


def test_this_machine_knows_when_it_was_started() -> None:
    assert this_boot() == this_boot() != ""
