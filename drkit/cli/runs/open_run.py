"""A failover while a run of the service is open already: it is led elsewhere, rolled back first, or
left as it is. Nothing is chosen for the operator.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from drkit.cli.session import Session
from drkit.errors import DrkitError, NeedsOperator

if TYPE_CHECKING:
    from drkit.runs.book.plan import Plan
    from drkit.runs.journal.journal import Journal
    from drkit.runs.records import RunRecord
    from drkit.wiring import App


def offer_open_run(session: Session, app: App, plan: Plan) -> int | None:
    """The exit status, when the open run is what goes on; None when a new one may be opened.

    Raises `NeedsOperator`, with the exact commands, where nobody can be asked.
    """
    from drkit.wiring.run import open_journal

    journal = open_journal(app)
    run = journal.open_run_of(plan.service, plan.namespace)
    if run is None:
        return None
    where = f"{run.kind} {run.id} to {run.target} is open, in {run.state.value}"
    if journal.is_executed(run.id):
        raise NeedsOperator(
            f"{where}, and goes on; nothing was started",
            hint=f"to look on: drkit runs attach {run.id}; to stop it: drkit runs abort {run.id}",
        )
    ways = _ways(journal, run, plan)
    if session.json_lines or not sys.stdin.isatty():
        raise NeedsOperator(
            f"{where}; nothing was started",
            hint="; ".join(f"{what}: {words}" for what, words in ways.values()),
        )
    session.terminal.say(f"{where}.")
    for key, (what, words) in ways.items():
        session.terminal.say(f"  [{key}] {what}: {words}")
    choice = input("your choice [nothing]: ").strip().lower()[:1]
    return _chosen(session, app, run, plan, choice if choice in ways else "")


def _ways(journal: Journal, run: RunRecord, plan: Plan) -> dict[str, tuple[str, str]]:
    """What can be done, by key: in words, and as a command."""
    from drkit.runs.states import replay
    from drkit.runs.steering.retarget import may_retarget

    ways = {}
    if run.target == plan.target or run.kind != plan.kind:
        ways["g"] = (f"go on with the {run.kind} to {run.target}", f"drkit runs resume {run.id}")
    frozen = journal.plan(run.id)
    steps = replay(journal.entries(run.id), [step.id for step in frozen.steps])
    try:
        if run.kind == plan.kind:
            may_retarget(run, frozen, steps, plan)
            words = f"drkit runs retarget {run.id} --to {plan.target} --yes"
            ways["t"] = (f"lead it to {plan.target}, keeping what was restored", words)
    except DrkitError:
        pass  # then it is no way
    words = f"drkit runs rollback {run.id} --yes"
    ways["r"] = ("roll it back first, and give this command again then", words)
    return ways


def _chosen(session: Session, app: App, run: RunRecord, plan: Plan, choice: str) -> int | None:
    from drkit.cli.runs.steering import go_on, lead_elsewhere, roll_back

    match choice:
        case "g":
            return go_on(session, app, run.id)
        case "t":
            return lead_elsewhere(session, app, run.id, plan.target, yes=True)
        case "r":
            status = roll_back(session, app, run.id, yes=True)
            return None if status == 0 else status
        case _:
            raise NeedsOperator(
                f"run {run.id} stays as it is; nothing was started",
                hint=f"`drkit runs show {run.id}` says where it stands",
            )
