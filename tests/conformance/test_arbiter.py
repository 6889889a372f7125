"""What `Arbiter` promises, executed on every adapter. To add one: its row in `ARBITERS`.

A row gives, for a folder, a function that opens the same arbiter as another machine with its own
clock would.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import s3_servers
from fault_proxy import Fault, FaultProxy

from drkit.clock import ManualClock
from drkit.coordination.arbiter import PlacedArbiter
from drkit.coordination.folder import FolderPlace
from drkit.coordination.in_store import StorePlace
from drkit.coordination.interface import (
    Arbiter,
    ArbiterUnreachable,
    Holding,
    Lease,
    LeaseHeld,
    LeaseLost,
    RoleRecord,
)
from drkit.coordination.memory import MemoryArbiter, MemoryPlace
from drkit.coordination.sightings import MemorySightings
from drkit.errors import GuardRefused
from drkit.stores.memory import MemoryStore

Machine = Callable[[ManualClock], Arbiter]


def _memory(_folder: Path) -> tuple[Machine, Callable[[], None]]:
    place = MemoryPlace()
    return lambda clock: MemoryArbiter(clock, place), lambda: setattr(place, "down", True)


def _folder(folder: Path) -> tuple[Machine, Callable[[], None]]:
    def break_it() -> None:
        for path in (folder / "arbiter").iterdir():
            path.unlink()
            path.mkdir()

    return (
        lambda clock: PlacedArbiter(FolderPlace(folder / "arbiter"), MemorySightings(), clock),
        break_it,
    )


def _store(_folder: Path) -> tuple[Machine, Callable[[], None]]:
    store = MemoryStore()

    def machine(clock: ManualClock) -> Arbiter:
        return PlacedArbiter(StorePlace(store, clock), MemorySightings(), clock)

    return machine, lambda: setattr(store, "down", True)


def _s3(_folder: Path) -> tuple[Machine, Callable[[], None]]:
    line = FaultProxy(s3_servers.moto_url())
    bucket, prefix = s3_servers.shared_bucket(versioned=False), secrets.token_hex(8)

    def machine(clock: ManualClock) -> Arbiter:
        store = s3_servers.s3_store(line.url, bucket, prefix=prefix)
        return PlacedArbiter(StorePlace(store, clock), MemorySightings(), clock)

    return machine, lambda: setattr(line, "plan", lambda _asked: Fault.RESET)


ARBITERS: dict[str, Callable[[Path], tuple[Machine, Callable[[], None]]]] = {
    "memory": _memory,
    "folder": _folder,
    "store": _store,
    "s3": _s3,
}


@pytest.fixture(params=sorted(ARBITERS))
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Machine, Callable[[], None]]:
    return ARBITERS[request.param](tmp_path)


@pytest.fixture
def machine(opened: tuple[Machine, Callable[[], None]]) -> Machine:
    return opened[0]


def role(epoch: int, site: str = "lambda", service: str = "chat") -> RoleRecord:
    return RoleRecord(
        service,
        epoch,
        site,
        f"http://10.0.0.{epoch}:8000",
        datetime(2026, 1, 1, 12, 30, 15, 250, tzinfo=UTC),
        f"run-{epoch}",
        ("aa" * 32, "bb" * 32),
    )


def test_the_lease_goes_to_one_and_is_refused_to_another(machine: Machine) -> None:
    first, second = machine(ManualClock()), machine(ManualClock())
    lease = first.acquire("chat", "a", ttl_s=60)
    assert (lease.service, lease.holder, lease.ttl_s) == ("chat", "a", 60)
    with pytest.raises(LeaseHeld, match="a holds the lease of chat"):
        second.acquire("chat", "b", ttl_s=60)
    first.renew(lease)


def test_services_have_leases_and_roles_of_their_own(machine: Machine) -> None:
    arbiter = machine(ManualClock())
    production = arbiter.acquire("chat", "a", ttl_s=60)
    drill = arbiter.acquire("chat/drill", "b", ttl_s=60)
    arbiter.record_role(production, role(1))
    assert arbiter.read_role("chat/drill") is None
    arbiter.record_role(drill, role(7, "coreweave", "chat/drill"))
    assert arbiter.read_role("chat") == role(1)
    with pytest.raises(GuardRefused):
        arbiter.record_role(drill, role(9, "coreweave", "chat"))
    assert arbiter.read_role("chat") == role(1)


def test_a_released_lease_is_free_at_once(machine: Machine) -> None:
    first, second = machine(ManualClock()), machine(ManualClock())
    lease = first.acquire("chat", "a", ttl_s=60)
    first.release(lease)
    first.release(lease)
    second.acquire("chat", "b", ttl_s=60)
    first.release(lease)
    with pytest.raises(LeaseHeld):
        first.acquire("chat", "a", ttl_s=60)


def test_T3_only_who_took_a_lease_that_was_not_given_back_is_told_so(machine: Machine) -> None:
    clock = ManualClock()
    first, second = machine(ManualClock()), machine(clock)
    held = first.acquire("chat", "a", ttl_s=60)
    assert not held.taken_over
    assert not first.acquire("chat", "a", ttl_s=60).taken_over
    with pytest.raises(LeaseHeld):
        second.acquire("chat", "b", ttl_s=60)
    clock.advance(61)
    taken = second.acquire("chat", "b", ttl_s=60)
    assert taken.taken_over
    second.release(taken)
    assert not first.acquire("chat", "a", ttl_s=60).taken_over


def test_a_holder_takes_its_own_lease_again_and_the_old_token_is_void(machine: Machine) -> None:
    before, resumed = machine(ManualClock()), machine(ManualClock())
    old = before.acquire("chat", "run-1", ttl_s=60)
    new = resumed.acquire("chat", "run-1", ttl_s=60)
    assert new.token != old.token
    for call in (lambda: before.renew(old), lambda: before.record_role(old, role(1))):
        with pytest.raises(LeaseLost):
            call()
    before.release(old)
    resumed.record_role(new, role(1))


def test_each_renewal_has_a_token_of_its_own_and_voids_the_one_before(machine: Machine) -> None:
    arbiter = machine(ManualClock())
    old = arbiter.acquire("chat", "a", ttl_s=60)
    new = arbiter.renew(old)
    assert new.token != old.token
    with pytest.raises(LeaseLost):
        arbiter.renew(old)
    arbiter.renew(new)


def test_T1_expiry_is_counted_from_when_the_waiter_last_saw_the_lease_change(
    machine: Machine,
) -> None:
    # The waiter's wall clock and count are years ahead: neither says anything of the holder's.
    holder_clock, waiter_clock = ManualClock(), ManualClock(datetime(2036, 1, 1, tzinfo=UTC))
    waiter_clock.advance(1e6)
    holder, waiter = machine(holder_clock), machine(waiter_clock)
    holder.acquire("chat", "a", ttl_s=60)
    with pytest.raises(LeaseHeld):
        waiter.acquire("chat", "b", ttl_s=60)
    waiter_clock.advance(59)
    with pytest.raises(LeaseHeld):
        waiter.acquire("chat", "b", ttl_s=60)
    waiter_clock.advance(1)
    waiter.acquire("chat", "b", ttl_s=60)


def test_T1_a_renewal_starts_the_waiters_count_again(machine: Machine) -> None:
    holder_clock, waiter_clock = ManualClock(), ManualClock()
    holder, waiter = machine(holder_clock), machine(waiter_clock)
    lease = holder.acquire("chat", "a", ttl_s=60)
    for _ in range(5):
        with pytest.raises(LeaseHeld):
            waiter.acquire("chat", "b", ttl_s=60)
        holder_clock.advance(50)
        waiter_clock.advance(50)
        lease = holder.renew(lease)
    with pytest.raises(LeaseHeld):
        waiter.acquire("chat", "b", ttl_s=60)


def test_T1_a_holder_sees_its_lease_end_no_later_than_any_waiter(machine: Machine) -> None:
    clock = ManualClock()
    arbiter = machine(clock)
    lease = arbiter.acquire("chat", "a", ttl_s=60)
    clock.advance(60)
    with pytest.raises(LeaseLost, match="ran out"):
        arbiter.renew(lease)
    with pytest.raises(LeaseLost, match="ran out"):
        arbiter.record_role(lease, role(1))
    assert arbiter.read_role("chat") is None
    # Nobody took it meanwhile: it may be acquired again, which is a new lease.
    arbiter.record_role(arbiter.acquire("chat", "a", ttl_s=60), role(1))


def test_T2_a_lease_ends_in_suspend_too(machine: Machine) -> None:
    clock = ManualClock()
    arbiter = machine(clock)
    lease = arbiter.acquire("chat", "a", ttl_s=60)
    clock.advance(8 * 3600)  # the lid was closed; elapsed_s runs on
    with pytest.raises(LeaseLost):
        arbiter.record_role(lease, role(1))


def test_a_lease_that_was_taken_over_is_lost_and_changes_nothing(machine: Machine) -> None:
    clock = ManualClock()
    first, second = machine(clock), machine(clock)
    old = first.acquire("chat", "a", ttl_s=60)
    first.record_role(old, role(1))
    with pytest.raises(LeaseHeld):
        second.acquire("chat", "b", ttl_s=60)
    clock.advance(60)
    new = second.acquire("chat", "b", ttl_s=60)
    with pytest.raises(LeaseLost):
        first.renew(old)
    with pytest.raises(LeaseLost):
        first.record_role(old, role(2, "vast"))
    first.release(old)
    assert second.read_role("chat") == role(1)
    second.record_role(new, role(2, "coreweave"))


def test_R1_without_the_lease_no_role_is_recorded(machine: Machine) -> None:
    arbiter = machine(ManualClock())
    lease = arbiter.acquire("chat", "a", ttl_s=60)
    forged = Lease("chat", "a", 60, "0" * 32)
    with pytest.raises(LeaseLost):
        arbiter.record_role(forged, role(1))
    arbiter.release(lease)
    with pytest.raises(LeaseLost):
        arbiter.record_role(lease, role(1))
    assert arbiter.read_role("chat") is None


def test_R1_an_arbiter_that_cannot_be_read_is_never_taken_for_an_empty_one(
    opened: tuple[Machine, Callable[[], None]],
) -> None:
    machine, break_it = opened
    arbiter = machine(ManualClock())
    lease = arbiter.acquire("chat", "a", ttl_s=60)
    arbiter.record_role(lease, role(1))
    break_it()
    for call in (
        lambda: arbiter.read_role("chat"),
        lambda: arbiter.holding("chat"),
        lambda: arbiter.acquire("chat", "b", ttl_s=60),
        lambda: arbiter.renew(lease),
        lambda: arbiter.record_role(lease, role(2)),
    ):
        with pytest.raises(ArbiterUnreachable):
            call()


def test_R2_every_machine_reads_the_role_that_was_recorded_last(machine: Machine) -> None:
    first, second = machine(ManualClock()), machine(ManualClock())
    assert second.read_role("chat") is None
    lease = first.acquire("chat", "a", ttl_s=60)
    first.record_role(lease, role(1))
    assert second.read_role("chat") == role(1)
    first.record_role(first.renew(lease), role(2, "coreweave"))
    assert second.read_role("chat") == role(2, "coreweave")


def test_the_role_outlives_the_lease(machine: Machine) -> None:
    arbiter = machine(ManualClock())
    lease = arbiter.acquire("chat", "a", ttl_s=60)
    arbiter.record_role(lease, role(3))
    arbiter.release(lease)
    assert arbiter.read_role("chat") == role(3)
    arbiter.acquire("chat", "b", ttl_s=60)
    assert arbiter.read_role("chat") == role(3)


@pytest.mark.parametrize("epoch", [4, 5, 0, -1])
def test_S14_an_epoch_that_is_not_greater_is_refused_and_the_old_record_stays(
    machine: Machine, epoch: int
) -> None:
    arbiter = machine(ManualClock())
    lease = arbiter.acquire("chat", "a", ttl_s=60)
    arbiter.record_role(lease, role(5))
    with pytest.raises(GuardRefused, match="not after epoch 5"):
        arbiter.record_role(lease, role(epoch, "vast"))
    assert arbiter.read_role("chat") == role(5)


def test_S14_the_record_keeps_which_snapshots_were_listed_when_the_epoch_began(
    machine: Machine,
) -> None:
    arbiter = machine(ManualClock())
    lease = arbiter.acquire("chat", "a", ttl_s=60)
    listed = tuple(f"{number:064x}" for number in range(500))
    arbiter.record_role(lease, replace(role(1), snapshots=listed, endpoint_url=None, run_id=None))
    found = arbiter.read_role("chat")
    assert found is not None
    assert found.snapshots == listed
    assert (found.endpoint_url, found.run_id) == (None, None)


def test_who_has_the_lease_is_seen_by_all_with_what_is_left_of_it(machine: Machine) -> None:
    mine, theirs = ManualClock(), ManualClock(datetime(2036, 1, 1, tzinfo=UTC))
    holder, other = machine(mine), machine(theirs)
    assert other.holding("chat") is None
    lease = holder.acquire("chat", "a", ttl_s=60)
    mine.advance(20)
    assert holder.holding("chat") == Holding("a", 40)
    assert other.holding("chat") == Holding("a", 60)
    theirs.advance(61)
    assert other.holding("chat") == Holding("a", -1)
    holder.release(lease)
    assert other.holding("chat") is None


def test_two_at_a_barrier_get_one_lease(machine: Machine) -> None:
    for turn in range(10):
        arbiters = [machine(ManualClock()) for _ in range(4)]
        barrier = threading.Barrier(len(arbiters))
        won: list[str] = []
        lost: list[str] = []

        def race(
            arbiter: Arbiter,
            holder: str,
            service: str = f"chat-{turn}",
            barrier: threading.Barrier = barrier,
            won: list[str] = won,
            lost: list[str] = lost,
        ) -> None:
            barrier.wait(timeout=20)
            try:
                arbiter.acquire(service, holder, ttl_s=60)
                won.append(holder)
            except LeaseHeld:
                lost.append(holder)

        racers = [
            threading.Thread(target=race, args=(arbiter, f"h{number}"))
            for number, arbiter in enumerate(arbiters)
        ]
        for racer in racers:
            racer.start()
        for racer in racers:
            racer.join(timeout=30)
        assert len(won) == 1
        assert len(lost) == 3
