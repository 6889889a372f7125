"""The shipped runbook cut short, and what the actions' own functions do when they are asked."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from failover_model.desk import NOW

from drkit.clock import ManualClock
from drkit.compute.interface import Still, at_will
from drkit.errors import GuardRefused
from drkit.runs.actions import pointing
from drkit.runs.actions.catalog import ACTIONS
from drkit.runs.book.plan import PlannedStep
from drkit.runs.book.schema import load_runbook
from drkit.runs.records import Entry, paid_resources
from drkit.traffic.interface import Setting, SwitchPlan, ToExternal

RUNBOOK = Path(__file__).parents[3] / "runbooks" / "primary-gpu-down.yaml"


BOOK_OFFER = cast(Any, SimpleNamespace(gpu="GPU", region="", usd_per_hour=1.0))


def record(call: Any, state: str, _offer: Any) -> None:
    """A line of the books as it was written before, whatever writes them now."""
    paid = {"key": "acquire/1", "state": state, "what": "GPU", "usd_per_hour": 1.0}
    call.guard.note({"paid": paid | {"instance_id": None}})


def books(written: list[Any]) -> tuple[Any, ...]:
    entries = [Entry(n, NOW, 0.0, "acquire", 1, "note", note) for n, note in enumerate(written)]
    return paid_resources(entries)


def pointed_by(proof: str, to_box: bool) -> str:
    did: list[str] = []
    before, after = Setting(False, "a"), Setting(False, "b")

    def apply(_plan: SwitchPlan, still: Still = at_will) -> None:
        still()
        did.append("apply")

    switch = cast(
        Any,
        SimpleNamespace(
            name="s",
            read=lambda: before,
            plan=lambda _before, _to: SwitchPlan("s", "r", before, after),
            apply=apply,
        ),
    )
    call = cast(Any, SimpleNamespace(guard=SimpleNamespace(check=lambda: did.append("check"))))
    context = cast(Any, SimpleNamespace(clock=ManualClock(NOW)))
    age = timedelta(0) if proof == "fresh" else timedelta(minutes=11)
    endpoint = cast(Any, None)
    to = pointing.Proven("t", endpoint, NOW - age) if to_box else ToExternal()
    try:
        pointing.point_to(switch, to, call, context)
    except GuardRefused:
        return "refused"
    return "asked" if did == ["check", "apply"] else "unasked"


class Book:
    """As much of a `Plan` as the graph asks for."""

    def __init__(self, steps: tuple[PlannedStep, ...]) -> None:
        self.steps = steps
        self._by_id = {step.id: step for step in steps}

    def step(self, step_id: str) -> PlannedStep:
        return self._by_id[step_id]


def contracted(keep: tuple[str, ...]) -> Book:
    """The shipped runbook with these steps alone; what needed one left out needs what that did."""
    book = load_runbook(RUNBOOK)
    by_id = {step.id: step for step in book.steps}

    def needs(step_id: str) -> tuple[str, ...]:
        found: dict[str, None] = {}
        for need in by_id[step_id].needs:
            found |= dict.fromkeys([need] if need in keep else needs(need))
        return tuple(found)

    steps = []
    for step in book.steps:
        if step.id in keep:
            action = ACTIONS[step.action]
            values: dict[str, Any] = {
                name: getattr(step, name, None) for name in PlannedStep.__dataclass_fields__
            }
            values |= {
                "version": action.version,
                "effect": action.effect,
                "needs": needs(step.id),
            }
            steps.append(PlannedStep(**values))
    return Book(tuple(steps))
