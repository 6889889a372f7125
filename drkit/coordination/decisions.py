"""Decisions in the state: one open at a time for each service, and none is ever forgotten."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, select

from drkit.clock import Clock
from drkit.config.decide import Decide
from drkit.coordination.decision import Decision, DecisionEvent, DecisionState, Facts, decide
from drkit.errors import NeedsOperator
from drkit.state.database import Database, again_on_conflict
from drkit.state.schema import DECISIONS


@dataclass(frozen=True, slots=True)
class DecisionRecord:
    id: str
    service: str
    decision: Decision
    run_id: str | None
    opened_at: datetime
    ended_at: datetime | None


class Decisions:
    """The decisions of one service."""

    def __init__(self, database: Database, service: str, clock: Clock) -> None:
        self._database = database
        self._service = service
        self._clock = clock

    def open(self) -> DecisionRecord | None:
        """The one that is open, if any."""
        with self._database.read() as connection:
            row = self._open_row(connection)
        return _record(row) if row is not None else None

    @again_on_conflict
    def weigh(
        self, event: DecisionEvent, facts: Facts, settings: Decide, *, by: str | None = None
    ) -> tuple[DecisionRecord | None, DecisionRecord | None]:
        """(before, after) of the open decision. WEIGHED opens one when the service is DOWN and
        none is open; other events need one: None, None.
        """
        with self._database.write() as connection:
            row = self._open_row(connection)
            before = _record(row) if row is not None else None
            if before is None and not (event is DecisionEvent.WEIGHED and facts.down):
                return None, None
            decision = self._own_time(before.decision) if before else Decision()
            after = decide(decision, event, facts, self._clock.elapsed_s(), settings, by=by)
            return before, self._keep(connection, before, after)

    @again_on_conflict
    def started(self, decision_id: str, run_id: str) -> None:
        """Notes the run that an approved decision led to; it ends the decision."""
        with self._database.write() as connection:
            start(connection, decision_id, run_id, self._clock.now())

    def approve(self, facts: Facts, settings: Decide, *, by: str) -> DecisionRecord:
        """The open decision, approved. Raises `NeedsOperator` saying what stands against it."""
        before, after = self.weigh(DecisionEvent.APPROVE, facts, settings, by=by)
        if after is None or before is None:
            raise nothing_waits(self._service)
        if after.decision.state is not DecisionState.APPROVED:
            why = "; ".join(after.decision.reasons) or f"it is {after.decision.state.value}"
            raise NeedsOperator(
                f"the decision of {self._service} cannot be approved now: {why}",
                hint="drkit status shows when that changes; drkit failover --to TARGET overrides",
            )
        return after

    def _own_time(self, decision: Decision) -> Decision:
        """What another machine's clock timed that is still to come here is counted anew."""
        asked_s, now_s = decision.asked_elapsed_s, self._clock.elapsed_s()
        if asked_s is not None and asked_s > now_s:
            return replace(decision, asked_elapsed_s=now_s)
        return decision

    def _open_row(self, connection: Connection) -> Row[Any] | None:
        return connection.execute(
            select(DECISIONS).where(
                DECISIONS.c.service == self._service, DECISIONS.c.ended_at.is_(None)
            )
        ).first()

    def _keep(
        self, connection: Connection, before: DecisionRecord | None, after: Decision
    ) -> DecisionRecord:
        now = self._clock.now()
        values = {
            "state": after.state.value,
            "reasons": json.dumps(after.reasons),
            "by": after.by,
            "asked_elapsed_s": after.asked_elapsed_s,
            "ended_at": now if after.state.ended else None,
        }
        if before is None:
            decision_id = f"decision-{now:%Y%m%dt%H%M%S}-{secrets.token_hex(3)}"
            values |= {"id": decision_id, "service": self._service, "opened_at": now}
            connection.execute(DECISIONS.insert().values(values))
        else:
            decision_id = before.id
            connection.execute(
                DECISIONS.update().where(DECISIONS.c.id == decision_id).values(values)
            )
        row = connection.execute(select(DECISIONS).where(DECISIONS.c.id == decision_id)).one()
        return _record(row)


def nothing_waits(service: str) -> NeedsOperator:
    """What an approval meets when no decision is open."""
    return NeedsOperator(
        f"no decision of {service} waits for an approval",
        hint="to fail over anyway: drkit failover --to TARGET",
    )


def start(connection: Connection, decision_id: str, run_id: str, now: datetime) -> None:
    """Ends an approved decision in its run, within the transaction that opens it. Raises
    `NeedsOperator` when it is approved no more: what it was approved for has changed meanwhile.
    """
    row = connection.execute(select(DECISIONS).where(DECISIONS.c.id == decision_id)).first()
    if row is None or row.state != DecisionState.APPROVED.value:
        state = row.state if row is not None else "gone"
        raise NeedsOperator(
            f"decision {decision_id} is {state} by now; no run was opened",
            hint="drkit status shows how the service is; drkit failover --to TARGET overrides",
        )
    values = {"state": DecisionState.RUN.value, "run_id": run_id, "ended_at": now}
    connection.execute(DECISIONS.update().where(DECISIONS.c.id == decision_id).values(values))


def _record(row: Row[Any]) -> DecisionRecord:
    return DecisionRecord(
        row.id,
        row.service,
        Decision(
            DecisionState(row.state), tuple(json.loads(row.reasons)), row.asked_elapsed_s, row.by
        ),
        row.run_id,
        row.opened_at,
        row.ended_at,
    )
