"""What an operator says to the watch: approve, pause, and what was done, by whom: audit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from drkit.cli.apps import opened
from drkit.cli.options import command, seconds_of
from drkit.cli.session import Session

if TYPE_CHECKING:
    from drkit.coordination.decisions import DecisionRecord

app = typer.Typer()
audit_app = typer.Typer(no_args_is_help=True, help="The audit log: who did what, when.")


@command(app, changes=True)
def pause(
    session: Session,
    why: Annotated[
        str | None, typer.Option("--why", help="For whoever finds it paused; needed to begin one.")
    ] = None,
    length: Annotated[
        str, typer.Option("--for", help="30m, 2h, at most 8h; 0s ends a pause.")
    ] = "2h",
) -> None:
    """Nothing fails over by a decision until the pause ends. Backups and probes go on."""
    from datetime import timedelta

    from drkit.errors import ConfigError
    from drkit.operations.watch.decide import check_pause, current_pause, end_pause
    from drkit.operations.watch.decide import pause as pause_until
    from drkit.state.audit import AuditLog, this_user

    seconds = seconds_of("--for", length, hint="write it as 30m or 2h")
    if seconds and not why:
        raise ConfigError(
            "a pause needs a reason, for whoever finds it",
            hint='drkit pause --why "network work until noon"; drkit pause --for 0s ends one',
        )
    with opened(session, parts=()) as opened_app:
        service = _service(opened_app.config.service)
        now = opened_app.clock.now()
        until = now + timedelta(seconds=seconds)
        paused = current_pause(opened_app.database, service, now)
        if seconds:
            check_pause(until, now)
        if session.dry_run:
            what = "end the pause of" if seconds == 0 else "pause"
            till = "" if seconds == 0 else f" until {until:%Y-%m-%d %H:%M} UTC"
            values = {"service": service, "until": until.isoformat() if seconds else None}
            session.terminal.result("would_pause", values, f"would {what} {service}{till}")
            return
        log = AuditLog(opened_app.database, opened_app.clock)
        if seconds == 0:
            end_pause(opened_app.database, service)
            if paused is not None:
                log.append("pause ended", service, {"why": why or paused.why})
            words = "was not paused" if paused is None else "is not paused any more"
            values = {"service": service, "until": None}
            session.terminal.result("pause", values, f"{service} {words}")
            return
        by, reason = this_user(), why or ""
        pause_until(opened_app.database, service, until=until, now=now, by=by, why=reason)
        log.append("pause", service, {"until": until.isoformat(), "why": why})
    session.terminal.result(
        "pause",
        {"service": service, "until": until.isoformat(), "why": why},
        f"{service} is paused until {until:%Y-%m-%d %H:%M} UTC; drkit pause --for 0s ends it",
    )


@command(app, changes=True)
def approve(
    session: Session,
    runbook: Annotated[
        str | None, typer.Option("--runbook", help="A file in the runbooks folder.")
    ] = None,
) -> int:
    """Approves what waits: a step of the open run, or else the decision, which is carried out."""
    from drkit.cli.runs.running import carry_out, first_failed_probe, plan_lines, plan_run
    from drkit.cli.runs.steering import approve_steps, run_that_waits
    from drkit.coordination.decisions import nothing_waits
    from drkit.operations.watch.decide import TO_STANDBY, decided_runbook, standbys
    from drkit.runs.journal.opening import Right
    from drkit.state.audit import AuditLog, this_user
    from drkit.wiring.watch import decided_target, open_decisions, read_facts, role_now, seen_health

    parts = ("stores", "repository", "service", "targets", "switch", "arbiter")
    with opened(session, servers=True, keep_servers=True, parts=parts) as opened_app:
        service = _service(opened_app.config.service)
        if (run_id := run_that_waits(opened_app, service)) is not None:
            return approve_steps(session, opened_app, run_id, None)
        if open_decisions(opened_app).open() is None:
            raise nothing_waits(service)
        book = runbook or decided_runbook(opened_app.config)
        target = decided_target(opened_app, book)
        plan = plan_run(opened_app, book, kind="failover", target=target)
        for line in plan_lines(opened_app, plan):
            session.terminal.say(line)
        warm = standbys(opened_app.config)
        if runbook is None and book != TO_STANDBY and warm:
            text = f"{warm[0]} is a warm standby: drkit approve --runbook {TO_STANDBY} leads there"
            session.terminal.say(f"  {text}, and rents nothing")
        reachable = role_now(opened_app).unconfirmed is None
        health = seen_health(opened_app)
        facts = read_facts(opened_app, health, leads=True, arbiter_reachable=reachable)
        if session.dry_run:
            return 0
        settings = opened_app.config.decide
        approved = open_decisions(opened_app).approve(facts, settings, by=this_user())
        log = AuditLog(opened_app.database, opened_app.clock)
        log.append("approve", service, {"decision": approved.id, "to": target})
        return carry_out(
            session,
            opened_app,
            plan,
            first_failed_at=health.first_failed_at or first_failed_probe(opened_app),
            right=Right.APPROVED,
            decision_id=approved.id,
        )


@command(audit_app)
def verify(session: Session) -> int:
    """Recomputes the chain of digests from the first line to the last."""
    from drkit.errors import DamagedData
    from drkit.state.audit import AuditLog

    with opened(session, parts=()) as opened_app:
        verdict = AuditLog(opened_app.database, opened_app.clock).verify()
    if verdict.broken_at is not None:
        raise DamagedData(
            f"line {verdict.broken_at} of the audit log does not follow from the one before it",
            hint="compare with an earlier export: drkit audit export",
        )
    session.terminal.result(
        "audit",
        {"entries": verdict.entries, "head": verdict.head},
        f"{verdict.entries} lines, sound; head {verdict.head[:16]}",
    )
    return 0


@command(audit_app)
def export(
    session: Session,
    after: Annotated[int, typer.Option("--after", help="Only lines after this number.")] = 0,
) -> None:
    """Prints the lines: as NDJSON with --json, with the digests that chain them."""
    from drkit.state.audit import AuditLog

    with opened(session, parts=()) as opened_app:
        rows = [
            {
                "seq": line.seq,
                "at": line.at.isoformat(),
                "who": line.who,
                "what": line.what,
                "subject": line.subject,
                "detail": dict(line.detail),
                "previous": line.previous,
                "digest": line.digest,
            }
            for line in AuditLog(opened_app.database, opened_app.clock).entries(after)
        ]
    shown = ("seq", "at", "who", "what", "subject", "detail")
    session.terminal.table("audit_entry", shown, rows)


def decision_values(record: DecisionRecord) -> Mapping[str, Any]:
    return {
        "id": record.id,
        "state": record.decision.state.value,
        "reasons": list(record.decision.reasons),
        "by": record.decision.by,
    }


def decision_words(record: DecisionRecord) -> str:
    """The decision for people, with what they can do about it."""
    state = record.decision.state.value
    if record.decision.reasons:
        return f"decision {record.id}: {state}: {'; '.join(record.decision.reasons)}"
    todo = {
        "WAIT_APPROVAL": "; drkit approve carries it out, drkit pause leaves it",
        "APPROVED": "; its run is not open yet: drkit approve opens it",
        "OBSERVED": "; nothing is done in mode observe; drkit failover --to TARGET does it",
    }
    return f"decision {record.id}: {state}{todo.get(state, '')}"


def _service(service: Any) -> str:
    from drkit.errors import ConfigError

    if service is None:
        raise ConfigError("schedules.yaml describes no service", hint="add its `service` section")
    return str(service.name)
