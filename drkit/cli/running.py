"""Planning a run, starting its process, and following what it writes."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from drkit.cli.options import Session
from drkit.errors import ConfigError
from drkit.units import format_duration

if TYPE_CHECKING:
    from drkit.compute.interface import Endpoint
    from drkit.runs.journal import Journal
    from drkit.runs.plan import Plan
    from drkit.runs.records import JSON, Entry, RunKind, RunRecord
    from drkit.wiring import App

_POLL_S = 0.1


def plan_run(app: App, runbook: str, *, kind: RunKind, target: str | None) -> Plan:
    """The frozen plan of this runbook for this target."""
    from drkit.runs.actions.catalog import ACTIONS
    from drkit.runs.plan import make_plan
    from drkit.runs.schema import load_runbook

    if not app.config.targets:
        raise ConfigError("schedules.yaml has no target", hint="add one to `targets`")
    book = load_runbook(Path(app.config.runbooks) / f"{runbook}.yaml")
    chosen = target or next(iter(app.config.targets))
    plan = make_plan(book, config=app.config, kind=kind, target=chosen, actions=ACTIONS)
    app.compute(plan.target)
    app.switches(plan.namespace)
    return plan


def plan_lines(app: App, plan: Plan) -> Iterator[str]:
    """The screen before a run: where to, at what price, what is restored, which steps."""
    target = app.config.targets[plan.target]
    named = f"{plan.runbook} ({plan.checksum[:12]})"
    yield f"{plan.kind} of {plan.service} to {plan.target}, by {named}"
    for candidate in target.candidates:
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
) -> int:
    """Opens the run, tells `opened` its id, starts its process, follows it, hands over the
    evidence; the exit status.
    """
    from drkit.wiring.run import open_journal

    journal = open_journal(app)
    run = journal.open_run(plan, sandbox=app.sandbox, first_failed_probe_at=first_failed_at)
    if opened is not None:
        opened(run.id)
    return start_and_attach(session, app, journal, run.id)


def start_and_attach(session: Session, app: App, journal: Journal, run_id: str) -> int:
    """The run's own process survives this one: Ctrl-C here only stops the looking on."""
    work_dir = app.state_dir / "runs" / run_id
    work_dir.mkdir(parents=True, exist_ok=True)
    argv = [sys.executable, "-m", "drkit", "runs", "execute", run_id]
    argv += ["--config", str(session.config_path)] + (["--sandbox"] if session.sandbox else [])
    last = max((entry.seq for entry in journal.entries(run_id)), default=0)
    with (work_dir / "log").open("ab") as log:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    try:
        _follow(session, journal, run_id, process, last)
    except KeyboardInterrupt:
        session.terminal.say(f"the run goes on without you; look at it: drkit runs show {run_id}")
        raise
    return _report(session, app, journal, run_id, work_dir / "log")


def _follow(
    session: Session, journal: Journal, run_id: str, process: subprocess.Popen[bytes], seq: int
) -> None:
    running = True
    while running:
        running = process.poll() is None
        for entry in journal.entries(run_id, seq):
            seq = entry.seq
            session.terminal.say(entry_line(entry))
        if running:
            time.sleep(_POLL_S)


def _report(session: Session, app: App, journal: Journal, run_id: str, log: Path) -> int:
    from drkit.runs.evidence.as_lines import evidence_lines
    from drkit.wiring.run import write_evidence

    run = journal.run(run_id)
    evidence, paths = write_evidence(app, journal, run_id)
    for line in evidence_lines(evidence):
        session.terminal.say(line)
    session.terminal.result(
        "run_ended",
        {"run_id": run.id, "state": run.state.value, "outcome": run.outcome, **paths},
        f"evidence: {paths['html']}",
    )
    if not run.state.ended:
        session.terminal.say(f"it stopped; its log: {log}; to go on: drkit runs resume {run_id}")
    return exit_status(run, journal.entries(run_id))


def exit_status(run: RunRecord, entries: list[Entry]) -> int:
    """0 when it did its work; 23 for a drill that failed; else what an operator must know."""
    if run.outcome in ("passed", "committed"):
        return 0
    if run.kind == "drill":
        return 23
    kinds = {str(entry.payload.get("kind")) for entry in entries if entry.kind == "failed"}
    if kinds & {"ProofsFailed", "VerificationFailed", "DamagedData"}:
        return 22
    return 26 if "OutOfCapacity" in kinds else 25


def entry_line(entry: Entry) -> str:
    """One line of a journal, for people."""
    payload = entry.payload
    what = {
        "intent": "is undone now" if payload.get("undo") else "begins",
        "done": f"done: {entry.payload.get('proof', '')}",
        "failed": f"FAILED: {entry.payload.get('error', '')}",
        "skipped": f"skipped: {entry.payload.get('reason', '')}",
        "undone": f"undone: {entry.payload.get('proof', '')}",
        "state": f"is {entry.payload.get('to')}",
        "resumed": f"taken up again by process {entry.payload.get('pid')}",
        "note": _note_words(payload),
    }[entry.kind]
    return f"{format_duration(entry.elapsed_s):>10}  {entry.step or 'run':<13}  {what}"


def _note_words(payload: Mapping[str, JSON]) -> str:
    """What a person should read of a note."""
    if isinstance(evidence := payload.get("evidence"), Mapping):
        return f"evidence: {evidence.get('html', '')}"
    if unknown := payload.get("effect_unknown"):
        return f"not known whether it took effect: {unknown}"
    if failed := payload.get("undo_failed"):
        return f"could not be undone: {failed}. {payload.get('hint', '')}"
    return str(payload.get("text") or payload.get("paid") or dict(payload))
