"""What `drkit status` says of the service, read now; what cannot be read is not guessed."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from drkit.coordination.hold import hold_key, note_from
from drkit.coordination.interface import ArbiterUnreachable, RoleRecord
from drkit.errors import DrkitError
from drkit.operations.costs.paid import PaidMachine, paid_machines
from drkit.operations.status.drills import DrillStanding, drill_standing
from drkit.operations.status.forecast import Forecast, Measured, forecast
from drkit.operations.status.service_status import ServiceStatus, not_auto
from drkit.operations.status.status import Status
from drkit.operations.watch.decide import current_pause, decided_runbook
from drkit.operations.watch.standby import last_proof
from drkit.operations.watch.telling import Runs, after_runs, told_epoch
from drkit.runs.actions.catalog import ACTIONS
from drkit.runs.book.critical_path import critical_path
from drkit.runs.book.plan import make_plan
from drkit.runs.book.schema import load_runbook
from drkit.runs.evidence.build import build_evidence
from drkit.runs.journal.journal import Journal
from drkit.runs.records import paid_resources
from drkit.traffic.interface import ToExternal
from drkit.wiring.app import App
from drkit.wiring.arbiter import arbiter_name, kept_proof
from drkit.wiring.leading import leader_now
from drkit.wiring.watch import (
    decided_target,
    open_decisions,
    open_health_log,
    own_memory,
    read_facts,
    role_now,
    seen_health,
    service_of,
    serving,
)
from drkit.wiring.witness import hear_witnesses

_CRON_EVERY_S = 60.0
_SHOWN_CHANGES = 5
_MOST_RUNS = 200


def service_status(app: App) -> ServiceStatus:
    """Who serves, who leads, what is decided. Raises `StateUnavailable`, and `ConfigError` without
    a service that has an endpoint.
    """
    service, now = service_of(app), app.clock.now()
    role, memory = role_now(app), own_memory(app)
    site, endpoint = serving(app, role)
    reachable, leader, hold = role.unconfirmed is None, None, None
    with suppress(ArbiterUnreachable):
        leader = leader_now(app)
        hold = note_from(app.arbiter.read_role(hold_key(service.name)))
    journal = Journal(app.database, app.clock)
    open_run = journal.open_run_of(service.name, "production")
    # What runs did since the last round shows at once; who leads writes it down in the next one.
    runs = Runs(open_run, role.role, told_epoch(memory, service.name), service.primary)
    health, _ = after_runs(seen_health(app), runs, app.config.probe, app.clock.elapsed_s())
    heard = hear_witnesses(app, site)
    facts = read_facts(app, health, leads=True, arbiter_reachable=reachable, heard=heard)
    standbys = (last_proof(memory, name) for name, t in app.config.targets.items() if t.standby)
    return ServiceStatus(
        service=service.name,
        site=site,
        endpoint_url=endpoint.url,
        role=role,
        leader=leader,
        arbiter=arbiter_name(app),
        proof=kept_proof(app),
        health=health,
        changes=open_health_log(app).recent(_SHOWN_CHANGES),
        hold=hold,
        pause=current_pause(app.database, service.name, now),
        cooldown_left_s=facts.cooldown_left_s,
        decision=open_decisions(app).open(),
        open_run=open_run,
        heard=heard,
        standbys=tuple(proof for proof in standbys if proof is not None),
        mode=app.config.decide.mode,
        not_auto=not_auto(facts, app.config.decide),
        machines=_machines(app, journal, role.role),
    )


def _machines(app: App, journal: Journal, role: RoleRecord | None) -> tuple[PaidMachine, ...]:
    runs = [run for run in journal.runs()[:_MOST_RUNS] if run.sandbox == app.sandbox]
    return paid_machines([(run, journal.entries(run.id)) for run in runs], role)


def drills_standing(app: App, stores: Status) -> DrillStanding | None:
    """When a real drill of the service passed, on this machine or, where it left its proof in a
    store, on any; None where there is nothing to drill, and in the sandbox, which counts for
    nothing. Raises `StateUnavailable`.
    """
    service = app.config.service
    if app.sandbox or service is None or not app.config.targets:
        return None
    passed = {
        proof.run_id: proof.at
        for proof in stores.proofs.values()
        if proof.run_id.startswith("drill-") and proof.service == service.name
    }
    for run in Journal(app.database, app.clock).runs():
        real = run.kind == "drill" and run.service == service.name and not run.sandbox
        if real and run.outcome == "passed":
            passed[run.id] = run.ended_at or run.created_at
    began = [app.database.made_at(), *([stores.first_point_at] if stores.first_point_at else [])]
    return drill_standing(passed, began, app.config.objectives.drill_every)


def service_forecast(app: App, stores: Status, service: ServiceStatus) -> Forecast:
    """What would happen if who serves now died."""
    target = decided_target(app) if app.config.targets else None
    ages = [age for age in stores.proof_age_s.values() if age is not None]
    return forecast(
        site=service.site,
        probe=app.config.probe,
        probe_every_s=_probe_every_s(app),
        why_not_held=_why_not_held(app, service),
        target=target,
        place=app.config.targets[target] if target else None,
        budget_s=_budget_s(app, target) if target else None,
        measured=_measured(app, target) if target else None,
        asks=app.config.decide.mode != "auto" or bool(service.not_auto),
        sources=stores.sources,
        lives_on={name: source.lives_on for name, source in app.config.sources.items()},
        proved_s=min(ages, default=None),
    )


def _probe_every_s(app: App) -> float | None:
    """How often the schedule probes; a cron line no oftener than each minute."""
    jobs = [job for job in app.config.schedules.values() if job.run == "probe"]
    return min((job.every or _CRON_EVERY_S for job in jobs), default=None)


def _why_not_held(app: App, service: ServiceStatus) -> str:
    """What keeps users from being held by themselves; "" if nothing does."""
    if app.config.decide.protect != "auto":
        return "protect is off"
    if service_of(app).external is None:
        return "the service declares no external API"
    if service.pause is not None:
        return "paused by an operator"
    if service.role.unconfirmed is not None:
        return "the arbiter is away"
    if not service.health.ever_healthy:
        return "it was never seen healthy"
    if not _watched(app, service):
        return "nobody leads the watch: start drkit daemon"
    try:
        switches = app.switches("production")
    except DrkitError as error:
        return error.message
    able = any(switch.refusal(ToExternal()) is None for switch in switches)
    return "" if able else "no switch can lead to it"


def _watched(app: App, service: ServiceStatus) -> bool:
    """A daemon leads; or rounds are made one by one, and the last one was not long ago."""
    if service.leader is not None and service.leader.left_s > 0:
        return True
    last_s, every_s = service.health.last_round_elapsed_s, _probe_every_s(app) or 0.0
    return last_s is not None and 0 <= app.clock.elapsed_s() - last_s <= 3 * max(every_s, 30.0)


def _budget_s(app: App, target: str) -> float | None:
    """The critical path of the decided runbook; None if it cannot be planned."""
    try:
        book = load_runbook(Path(app.config.runbooks) / f"{decided_runbook(app.config)}.yaml")
        plan = make_plan(book, config=app.config, kind="failover", target=target, actions=ACTIONS)
    except DrkitError:
        return None
    skipped = frozenset(step.id for step in plan.steps if step.skip)
    return critical_path(plan.steps, skipped=skipped).minutes * 60


def _measured(app: App, target: str) -> Measured | None:
    """What the newest run to this target that proved the service took: a drill, or a failover."""
    journal = Journal(app.database, app.clock)
    for run in journal.runs():
        wanted = run.target == target and run.sandbox == app.sandbox
        if not wanted or run.outcome not in ("passed", "committed"):
            continue
        try:
            entries = journal.entries(run.id)
            said = build_evidence(run, journal.plan(run.id), entries, now=app.clock.now())
        except (DrkitError, ValueError, KeyError):
            continue
        if said.clocks.recovered:
            prices = [paid.usd_per_hour for paid in paid_resources(entries) if paid.instance_id]
            at = run.ended_at or run.created_at
            return Measured(run.id, run.kind, said.clocks.exec_s, sum(prices) or None, at)
    return None
