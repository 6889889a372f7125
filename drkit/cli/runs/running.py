"""Planning a run, what its screen says, and carrying it out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from drkit.cli.session import Session
from drkit.errors import ConfigError

if TYPE_CHECKING:
    from drkit.compute.interface import Endpoint
    from drkit.runs.book.plan import Plan
    from drkit.runs.journal.opening import Right
    from drkit.runs.records import Entry, RunKind
    from drkit.wiring import App


def plan_run(app: App, runbook: str, *, kind: RunKind, target: str | None) -> Plan:
    """The frozen plan of this runbook for this target. Raises what would stop it at once."""
    from drkit.cli.runs.planning import must_be_open
    from drkit.runs.actions.catalog import ACTIONS
    from drkit.runs.book.plan import make_plan
    from drkit.runs.book.schema import load_runbook

    if not app.config.targets:
        raise ConfigError("schedules.yaml has no target", hint="add one to `targets`")
    book = load_runbook(Path(app.config.runbooks) / f"{runbook}.yaml")
    chosen = target or next(iter(app.config.targets))
    plan = make_plan(book, config=app.config, kind=kind, target=chosen, actions=ACTIONS)
    must_be_open(app, plan)
    return plan


def plan_lines(app: App, plan: Plan) -> Iterator[str]:
    """The screen before a run: where to, at what price, what is restored, which steps."""
    target = app.config.targets[plan.target]
    named = f"{plan.runbook} ({plan.checksum[:12]})"
    yield f"{plan.kind} of {plan.service} to {plan.target}, by {named}"
    for candidate in target.candidates if plan.asks_provider else ():
        yield f"  candidate {candidate.gpu}: at most ${candidate.max_usd_per_hour:.2f} an hour"
    cap = f"${plan.usd_per_run:.2f}" if plan.usd_per_run else "none"
    yield f"  cap for the run: {cap}; lost: {', '.join(plan.lost)}; point: {plan.point}"
    for step in plan.steps:
        note = (
            f"skipped: {step.skip}" if step.skip else f"after {', '.join(step.needs) or 'nothing'}"
        )
        yield f"  {step.id:14} {step.phase:8} {note}"


def first_failed_probe(app: App) -> datetime | None:
    """The time of a probe that fails now; None if the service answers."""
    from drkit.wiring.watch import serving

    assert app.config.service is not None
    _, endpoint = serving(app)
    model = app.config.service.model
    observation = app.prober.observe(endpoint, model=model, api_key=app.api_key())
    return None if observation.alive else observation.at


def watch_until_down(app: App, endpoint: Endpoint, *, kill: Callable[[], None]) -> datetime:
    """Sees the server healthy, has it killed, and probes by the table until it is DOWN.

    The time of the first failed probe, from which the whole recovery is counted.
    """
    from drkit.health.interface import ServiceHealth, ServiceState
    from drkit.health.table import advance

    assert app.config.service is not None
    model = app.config.service.model
    health = ServiceHealth()
    killed = False
    while health.state is not ServiceState.DOWN or health.first_failed_at is None:
        observation = app.prober.observe(endpoint, model=model, api_key=app.api_key())
        health, _ = advance(health, observation, app.clock.elapsed_s(), app.config.probe)
        if not killed and health.ever_healthy:
            kill()
            killed = True
        if health.state is not ServiceState.DOWN:
            app.clock.sleep(app.config.probe.suspect_every)
    return health.first_failed_at


def carry_out(
    session: Session,
    app: App,
    plan: Plan,
    *,
    first_failed_at: datetime | None = None,
    opened: Callable[[str], None] | None = None,
    right: Right | None = None,
    decision_id: str | None = None,
    words: Sequence[str] = (),
) -> int:
    """Opens the run, tells `opened` its id, starts its process, follows it, hands over the
    evidence; the exit status. `right`: an operator's, who typed it, unless another is given.
    `decision_id`: the approved decision that is carried out. `words`: what the run's process is
    told beside its id.
    """
    from drkit.cli.runs.following import start_and_attach
    from drkit.runs.journal.opening import Opener, Right
    from drkit.state.audit import AuditLog, this_user
    from drkit.wiring.arbiter import refuse_skewed_clock
    from drkit.wiring.run import open_journal

    refuse_skewed_clock(app)
    journal = open_journal(app)
    opener = Opener(this_user(), right or Right.TYPED, app.config.decide, decision_id)
    run = journal.open_run(
        plan, sandbox=app.sandbox, first_failed_probe_at=first_failed_at, opener=opener
    )
    for passed_over in _passed_over(journal.entries(run.id)):
        session.terminal.say(f"goes on all the same, for you ask for it: {passed_over}")
    drill = journal.open_run_of(plan.service, "drill") if plan.namespace == "production" else None
    if drill is not None and not journal.is_executed(drill.id):
        session.terminal.say(f"a drill waits, and gives way: drkit runs resume {drill.id} ends it")
    AuditLog(app.database, app.clock).append(
        f"run {plan.kind}", plan.service, {"run": run.id, "target": plan.target}
    )
    if opened is not None:
        opened(run.id)
    return start_and_attach(session, app, journal, run.id, *words)


def _passed_over(entries: Sequence[Entry]) -> list[str]:
    found = entries[0].payload.get("passed_over") if entries else None
    return [str(each) for each in found] if isinstance(found, list) else []
