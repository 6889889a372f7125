"""Daemons whose arbiter lies in S3: one is suspended, and clocks go wrong."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import s3_servers
from daemons import Machine, Service, make_machine, until

STANDS = ("leads", "stands by", "cannot", "may not lead")
LEASE_S = 10.0


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service()
    yield made
    made.shutdown()


@pytest.fixture
def machine(tmp_path: Path, service: Service) -> Iterator[Callable[..., Machine]]:
    """Makes and starts one more machine on the same bucket; each has a state of its own."""
    url = s3_servers.moto_url()
    bucket = s3_servers.make_bucket(url)
    made: list[Machine] = []

    def make(name: str, **environment: str) -> Machine:
        remote = f"{{kind: s3, role: backup, bucket: {bucket}, region: us-east-1, endpoint: {url},"
        remote += " access_key_id: env:KEY_ID, secret_access_key: env:KEY}"
        one = make_machine(
            tmp_path / name,
            service,
            arbiter="{kind: store, store: remote}",
            stores=f"{{remote: {remote}}}",
            KEY_ID="drkit",
            KEY="drkit-test-secret",
            **environment,
        )
        one.start()
        made.append(one)
        return one

    yield make
    for one in made:
        one.end()


def stands(machine: Machine) -> str:
    assert machine.process is not None
    assert machine.process.poll() is None, machine.said
    return machine.last(*STANDS)


@pytest.mark.timeout(180)
def test_T2_a_leader_that_is_suspended_does_not_lead_when_it_wakes(
    machine: Callable[..., Machine], service: Service
) -> None:
    first = machine("a")
    until("the first leads", lambda: stands(first) == "leads")
    second = machine("b")
    until("the second stands by", lambda: stands(second) == "stands by")

    first.signal(signal.SIGSTOP)
    until("the second leads", lambda: stands(second) == "leads", within_s=15)
    first.signal(signal.SIGCONT)
    until("the first stands by", lambda: stands(first) == "stands by")
    time.sleep(LEASE_S / 3)
    assert (stands(first), stands(second)) == ("stands by", "leads")
    assert service.flips == []


@pytest.mark.timeout(180)
def test_T1_wall_clocks_of_machines_are_not_compared_and_one_that_is_far_off_never_leads(
    machine: Callable[..., Machine], service: Service
) -> None:
    wrong = machine("wrong", TEST_SKEW_S="-400")
    until("it may not lead", lambda: stands(wrong) == "may not lead")
    ahead = machine("ahead", TEST_SKEW_S="200")
    until("the one ahead leads", lambda: stands(ahead) == "leads")
    behind = machine("behind", TEST_SKEW_S="-200")
    until("the one behind stands by", lambda: stands(behind) == "stands by")

    began_s = time.monotonic()
    ahead.kill()
    until("the one behind leads", lambda: stands(behind) == "leads", within_s=15)
    assert time.monotonic() - began_s >= LEASE_S / 2
    assert stands(wrong) == "may not lead"
    # A probe that somebody types there looks on.
    (health,) = (row for row in wrong.command("probe") if row["message_type"] == "health")
    assert not health["leads"]
    assert "has the lease of the watch" in health["not_led"]
    assert (behind.folder / "state" / "arbiter-proof.json").exists()
    assert not (wrong.folder / "state" / "arbiter-proof.json").exists()
    assert service.flips == []


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_T2_daemons_that_sleep_at_any_moment_never_lead_two_at_once(
    machine: Callable[..., Machine], service: Service
) -> None:
    rng = random.Random(20261121)
    machines = [machine(name, TEST_SKEW_S=skew) for name, skew in (("a", "-250"), ("b", "250"))]
    until("one leads", lambda: sorted(map(stands, machines)) == ["leads", "stands by"])
    took_over = 0
    for number in range(12):
        leader, other = sorted(machines, key=stands)  # "leads" comes before "stands by"
        leader.signal(signal.SIGSTOP)
        asleep_s = rng.uniform(1, 20)
        time.sleep(asleep_s)
        led = stands(other) == "leads"
        leader.signal(signal.SIGCONT)
        until("one leads", lambda: sorted(map(stands, machines)) == ["leads", "stands by"])
        took_over += stands(other) == "leads"
        assert led or asleep_s < 15
        print(f"sleep {number + 1} of 12: {asleep_s:.0f} s; {took_over} takeovers so far")
    assert 0 < took_over < 12
    assert service.flips == []
