"""Machines that are still paid for: named, with what gives them back."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from run_records import RUN as OPEN

from drkit.coordination.interface import RoleRecord
from drkit.operations.costs.paid import paid_machines
from drkit.runs.records import EXTERNAL, Entry, RunState

NOW = datetime(2026, 1, 4, 12, tzinfo=UTC)
RUN = replace(
    OPEN,
    id="failover-1",
    state=RunState.COMMITTED,
    epoch=1,
    ended_at=NOW,
    outcome="committed",
)
SERVES = RoleRecord("chat", 1, "vast", "http://192.0.2.1:8000", NOW, "failover-1")


def paid(state: str, key: str = "acquire/1.0", instance: str | None = "i-1") -> Entry:
    value: Any = {
        "key": key,
        "state": state,
        "what": "L40",
        "usd_per_hour": 1.5,
        "instance_id": instance,
    }
    return Entry(1, NOW, 0.0, "acquire", 1, "note", {"paid": value})


def test_the_machine_that_serves_is_named_with_its_price_and_its_way_back() -> None:
    (machine,) = paid_machines([(RUN, [paid("REQUESTED", instance=None), paid("ADOPTED")])], SERVES)
    assert (machine.instance, machine.usd_per_hour, machine.run_id) == ("i-1", 1.5, RUN.id)
    assert "paid for: L40 i-1 on vast, $1.50 an hour" in machine.words()
    assert "drkit failback gives it back" in machine.words()


def test_a_former_targets_machine_that_nobody_gave_back_is_told_of() -> None:
    elsewhere = replace(SERVES, epoch=2, site="coreweave", run_id="failover-2")
    (machine,) = paid_machines([(RUN, [paid("ADOPTED")])], elsewhere)
    assert "NOTHING NEEDS IT ANY MORE" in machine.words()
    assert "drkit-run=failover-1" in machine.words()


def test_the_machine_that_serves_again_after_a_run_was_taken_back_is_needed() -> None:
    former: Any = {"site": "vast", "endpoint_url": SERVES.endpoint_url, "run_id": RUN.id}
    note = Entry(1, NOW, 0.0, "cutover", 1, "note", {"former": former})
    for site in ("vast", "runpod"):
        other = replace(RUN, id="failover-2", target=site, state=RunState.ROLLED_BACK)
        again = replace(SERVES, epoch=3, run_id=other.id)
        machines = paid_machines([(other, [note]), (RUN, [paid("ADOPTED")])], again)
        assert ["it serves; drkit failback" in each.words() for each in machines] == [True]


def test_while_users_are_held_the_machine_that_served_is_needed() -> None:
    former: Any = {"site": "vast", "endpoint_url": SERVES.endpoint_url, "run_id": RUN.id}
    note = Entry(1, NOW, 0.0, "record", 1, "note", {"former": former})
    hold = replace(RUN, id="switchover-1", kind="switchover", target=EXTERNAL)
    held = replace(SERVES, epoch=2, site=EXTERNAL, endpoint_url=None, run_id=hold.id)
    (machine,) = paid_machines([(hold, [note]), (RUN, [paid("ADOPTED")])], held)
    assert "it served until users were held" in machine.words()


def test_of_a_machine_that_may_serve_nobody_says_that_nothing_needs_it() -> None:
    unknown = replace(SERVES, run_id="failover-of-another-machine")
    (machine,) = paid_machines([(RUN, [paid("ADOPTED")])], unknown)
    assert "it may be what serves" in machine.words()


def test_what_any_run_saw_gone_is_not_paid_for_any_more() -> None:
    home = replace(RUN, id="failback-1", kind="failback")
    released = paid("CONFIRMED_GONE", key="release/i-1")
    assert paid_machines([(home, [released]), (RUN, [paid("ADOPTED")])], None) == ()
    assert paid_machines([(RUN, [paid("ADOPTED"), paid("CONFIRMED_GONE")])], None) == ()
    refused = paid("CONFIRMED_GONE", instance=None)
    assert paid_machines([(RUN, [paid("REQUESTED", instance=None), refused])], None) == ()


def test_the_machine_of_an_open_run_is_the_runs_to_give_back() -> None:
    stuck = replace(RUN, state=RunState.NEEDS_OPERATOR, ended_at=None, outcome=None)
    (machine,) = paid_machines([(stuck, [paid("ADOPTED")])], None)
    assert "run failover-1 is open" in machine.words()
