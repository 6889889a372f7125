"""The contract of drkit.coordination.interface.Arbiter, made executable."""

import multiprocessing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from drkit.clock import ManualClock, SystemClock
from drkit.coordination.folder import FolderArbiter
from drkit.coordination.interface import LeaseHeld, LeaseLost, RoleRecord
from drkit.coordination.memory import MemoryArbiter
from drkit.errors import GuardRefused

JOIN = {
    "memory": lambda folder, clock: MemoryArbiter(clock),
    "folder": lambda folder, clock: FolderArbiter(folder / "arbiter", clock),
}


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture(params=JOIN, ids=list(JOIN))
def arbiter(request, tmp_path: Path, clock):
    return JOIN[request.param](tmp_path, clock)


def role(epoch: int, site: str = "coreweave") -> RoleRecord:
    since = datetime(2026, 1, 1, tzinfo=UTC)
    return RoleRecord("s", epoch, site, "http://127.0.0.2:8000", since, "run", ("a", "b"))


def test_R1_only_one_holder_has_the_lease_until_it_expires(arbiter, clock) -> None:
    arbiter.acquire("s", "one", ttl_s=10)
    with pytest.raises(LeaseHeld, match="one"):
        arbiter.acquire("s", "two", ttl_s=10)
    arbiter.acquire("other service", "two", ttl_s=10)
    clock.advance(10.1)
    assert arbiter.acquire("s", "two", ttl_s=10).holder == "two"


def test_the_holder_may_take_its_own_lease_again(arbiter) -> None:
    first = arbiter.acquire("s", "one", ttl_s=10)
    assert arbiter.acquire("s", "one", ttl_s=10).token != first.token
    with pytest.raises(LeaseLost):
        arbiter.renew(first)


def test_T1_a_renewal_counts_from_when_it_was_made(arbiter, clock) -> None:
    lease = arbiter.acquire("s", "one", ttl_s=10)
    clock.advance(9)
    arbiter.renew(lease)
    clock.advance(9)
    with pytest.raises(LeaseHeld):
        arbiter.acquire("s", "two", ttl_s=10)


def test_a_lease_that_ran_out_can_neither_be_renewed_nor_used(arbiter, clock) -> None:
    lease = arbiter.acquire("s", "one", ttl_s=10)
    clock.advance(10.1)
    with pytest.raises(LeaseLost):
        arbiter.renew(lease)
    with pytest.raises(LeaseLost):
        arbiter.record_role(lease, role(1))
    assert arbiter.read_role("s") is None


def test_a_released_lease_is_free_and_releasing_a_lost_one_frees_nothing(arbiter) -> None:
    lease = arbiter.acquire("s", "one", ttl_s=10)
    arbiter.release(lease)
    arbiter.acquire("s", "two", ttl_s=10)
    arbiter.release(lease)
    with pytest.raises(LeaseHeld):
        arbiter.acquire("s", "three", ttl_s=10)


def test_R1_the_role_record_survives_and_its_epoch_only_rises(arbiter) -> None:
    lease = arbiter.acquire("s", "one", ttl_s=10)
    arbiter.record_role(lease, role(2))
    for epoch in (1, 2):
        with pytest.raises(GuardRefused):
            arbiter.record_role(lease, role(epoch, "vast"))
    assert arbiter.read_role("s") == role(2)
    arbiter.record_role(lease, role(3))


def _race(folder: Path, name: str, barrier, won) -> None:
    arbiter = FolderArbiter(folder, SystemClock())
    barrier.wait()
    try:
        arbiter.acquire("s", name, ttl_s=60)
        won.put(name)
    except LeaseHeld:
        won.put(None)


def test_R1_of_processes_that_race_for_the_lease_one_gets_it(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    barrier, won = context.Barrier(4), context.Queue()
    racers = [
        context.Process(target=_race, args=(tmp_path / "a", f"racer {n}", barrier, won))
        for n in range(4)
    ]
    for racer in racers:
        racer.start()
    outcomes = [won.get(timeout=30) for _ in racers]
    for racer in racers:
        racer.join()
    assert sum(outcome is not None for outcome in outcomes) == 1
