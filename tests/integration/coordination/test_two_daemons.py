"""Two real daemons on one PostgreSQL: one leads, and when it is killed the other does."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from daemons import LONGEST_EFFECT_S, Machine, Service, make_machine, until

LEASE_S = 10.0
TAKES_OVER_WITHIN_S = 15.0


class Pair:
    """Two machines, their service, and what was seen of them."""

    def __init__(self, folder: Path, url: str) -> None:
        self.service = Service()
        self.machines = [
            make_machine(
                folder / name,
                self.service,
                arbiter="{kind: postgres, url: env:ARBITER}",
                state_url=url,
                ARBITER=url,
            )
            for name in ("a", "b")
        ]
        for machine in self.machines:
            machine.start()

    def leader(self) -> Machine | None:
        ended = [m.said for m in self.machines if m.process and m.process.poll() not in (None, -9)]
        assert not ended, ended
        lead = [
            machine
            for machine in self.machines
            if machine.process and machine.process.poll() is None
            if machine.last("leads", "stands by", "cannot") == "leads"
        ]
        assert len(lead) <= 1, [machine.said for machine in self.machines]
        return lead[0] if lead else None

    def kill_leader(self) -> tuple[float, Machine]:
        """When it was killed, and who is to lead now."""
        before = self.leader()
        assert before is not None
        (other,) = (machine for machine in self.machines if machine is not before)
        before.kill()
        killed_at = time.time()
        before.said.clear()
        until("the other leads", lambda: self.leader() is other)
        led_at = self.led_at(other)
        assert LEASE_S * 2 / 3 - 1 <= led_at - killed_at <= TAKES_OVER_WITHIN_S
        return led_at, other

    def restart(self, but: Machine) -> None:
        for machine in self.machines:
            if machine is not but:
                machine.start()
                until("it stands by", lambda: machine.last("leads", "stands by") == "stands by")

    def led_at(self, machine: Machine) -> float:
        """When it began to lead, by the audit log that both write to."""
        name = (machine.folder / "state" / "machine").read_text().strip()
        rows = [row for row in self.audit(machine) if row["what"] == "daemon leads"]
        return datetime.fromisoformat([r for r in rows if r["who"] == name][-1]["at"]).timestamp()

    def audit(self, machine: Machine) -> list[dict]:
        rows = machine.command("audit", "export")
        return [row for row in rows if row["message_type"] == "audit_entry"]

    def each_effect_had_an_epoch_of_its_own(self) -> None:
        audit = self.audit(self.machines[0])
        holds = [row for row in audit if row["what"].startswith("hold: ")]
        epochs = [row["detail"]["epoch"] for row in holds]
        assert epochs == sorted(set(epochs))
        done = [row for row in holds if row["what"] in ("hold: held", "hold: released")]
        assert len(done) == len(self.service.flips)
        assert [held for _, held in self.service.flips] == [
            row["what"] == "hold: held" for row in done
        ]


@pytest.fixture
def pair(tmp_path: Path, postgres_url: str) -> Iterator[Pair]:
    made = Pair(tmp_path, postgres_url)
    yield made
    for machine in made.machines:
        machine.end()
    made.service.shutdown()


def known_to_both(pair: Pair) -> bool:
    notes = (machine.folder / "state" / "watch" / "health%2Fchat.json" for machine in pair.machines)
    return all(note.exists() and '"ever_healthy": true' in note.read_text() for note in notes)


@pytest.mark.timeout(240)
def test_T3_three_leaders_are_killed_and_each_effect_is_done_once_by_who_leads(pair: Pair) -> None:
    until("one leads", lambda: pair.leader() is not None)
    until("both have seen it well", lambda: known_to_both(pair))

    pair.service.alive = False  # and the leader dies with it
    led_at, second = pair.kill_leader()
    until("users are held", lambda: pair.service.held)
    ((held_at, _),) = pair.service.flips
    assert held_at - led_at >= LEASE_S + LONGEST_EFFECT_S - 1  # the audit log counts seconds
    pair.restart(but=second)

    pair.service.alive = True
    led_at, third = pair.kill_leader()
    pair.restart(but=third)
    until("users are led back", lambda: not pair.service.held)
    assert pair.service.flips[-1][0] - led_at >= LEASE_S + LONGEST_EFFECT_S - 1

    _, fourth = pair.kill_leader()
    assert fourth.last("leads") == "leads"
    assert len(pair.service.flips) == 2
    pair.each_effect_had_an_epoch_of_its_own()


@pytest.mark.soak
@pytest.mark.timeout(1500)
def test_twenty_leaders_are_killed_at_any_moment(pair: Pair) -> None:
    rng = random.Random(20261121)
    until("one leads", lambda: pair.leader() is not None)
    until("both have seen it well", lambda: known_to_both(pair))
    for number in range(20):
        time.sleep(rng.uniform(0, 8))
        pair.service.alive = rng.random() < 0.5
        time.sleep(rng.uniform(0, 3))
        led_at, leader = pair.kill_leader()
        flips = len(pair.service.flips)
        pair.restart(but=leader)
        if rng.random() < 0.5:
            wanted = not pair.service.alive
            until("users are where they are to be", lambda: pair.service.held is wanted)
        early = [at for at, _ in pair.service.flips[flips:]]
        assert all(at - led_at >= LEASE_S + LONGEST_EFFECT_S - 1 for at in early)
        print(f"leader {number + 1} of 20 killed; {len(pair.service.flips)} flips so far")
    pair.each_effect_had_an_epoch_of_its_own()
