"""The journal: what a run is about to do and what it did, durable before it goes on.

Every method is one serialisable transaction that has reached the disk when it returns. Only the
process that claimed a run last may write to it; one that lost its claim gets `ClaimLost`.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, select
from sqlalchemy.exc import IntegrityError

from drkit import __version__
from drkit.clock import Clock
from drkit.errors import ConfigError, DamagedData, NeedsOperator
from drkit.runs.plan import Plan
from drkit.runs.process import lives, own_mark
from drkit.runs.records import JSON, Entry, EntryKind, RunRecord, RunState
from drkit.runs.rows import entry_bytes, entry_from, payload_text, run_from
from drkit.runs.states import RUN_TABLE
from drkit.state.database import Database, again_on_conflict
from drkit.state.schema import RUN_ENTRIES, RUNS

Copy = Callable[[str, bytes], bool]
"""(name below the store, content) -> whether one store holds it now; never raises, bounded."""


class RunOpen(NeedsOperator):
    """The service has an open run, which has to end first (R4)."""


class ClaimLost(NeedsOperator):
    """Another process executes this run now; this one may not go on."""


class Journal:
    def __init__(self, database: Database, clock: Clock, copies: Copy | None = None) -> None:
        self._database = database
        self._clock = clock
        self._copies = copies
        self._claims: dict[str, int] = {}
        self._anchors: dict[str, tuple[float, float]] = {}
        self._lock = threading.Lock()

    def open_run(
        self, plan: Plan, *, sandbox: bool, first_failed_probe_at: datetime | None = None
    ) -> RunRecord:
        """A new run of `plan`, PLANNED. A failover tells the service's drill to give way (R4).

        Raises `RunOpen`, naming the run that is open; then nothing was written.
        """
        now = self._clock.now()
        run_id = f"{plan.kind}-{now:%Y%m%dt%H%M%S}-{secrets.token_hex(3)}"
        row = {
            "id": run_id,
            "service": plan.service,
            "namespace": plan.namespace,
            "kind": plan.kind,
            "runbook": plan.runbook,
            "target": plan.target,
            "state": RunState.PLANNED.value,
            "plan": plan.to_json(),
            "plan_checksum": plan.checksum,
            "sandbox": sandbox,
            "local_only": False,
            "created_at": now,
            "first_failed_probe_at": first_failed_probe_at,
            "claim": 0,
            "drkit_version": __version__,
        }
        try:
            self._open(row)
        except IntegrityError:
            raise self._refusal(plan) from None
        payload: dict[str, JSON] = {
            "from": None,
            "to": RunState.PLANNED.value,
            "plan_checksum": plan.checksum,
        }
        self.append(run_id, "state", payload=payload)
        return self.run(run_id)

    @again_on_conflict
    def _open(self, row: Mapping[str, Any]) -> None:
        with self._database.write() as connection:
            connection.execute(RUNS.insert().values(row))
            if row["namespace"] == "production":
                connection.execute(
                    RUNS.update()
                    .where(RUNS.c.service == row["service"], RUNS.c.ended_at.is_(None))
                    .where(RUNS.c.namespace == "drill", RUNS.c.interrupted_by.is_(None))
                    .values(interrupted_by=row["id"])
                )

    @again_on_conflict
    def claim(self, run_id: str, pid: int | None = None) -> RunRecord:
        """The run, which from now on only this process writes to.

        Raises `ClaimLost` when the process that has it still lives.
        """
        own_pid, mark = own_mark()
        with self._database.write() as connection:
            row = _row(connection, run_id)
            elsewhere = (row.pid, row.pid_started) != (own_pid, mark)
            if elsewhere and lives(row.pid, row.pid_started):
                raise ClaimLost(
                    f"run {run_id} is being executed by process {row.pid}",
                    hint=f"wait for it, or stop it: kill {row.pid}",
                )
            values = {"pid": pid or own_pid, "pid_started": mark, "claim": row.claim + 1}
            if row.started_at is None:
                values["started_at"] = self._clock.now()
            connection.execute(RUNS.update().where(RUNS.c.id == run_id).values(values))
            self._claims[run_id] = row.claim + 1
        return self.run(run_id)

    @again_on_conflict
    def release(self, run_id: str) -> None:
        """Gives the claim up; one that is lost already is no error."""
        claim = self._claims.pop(run_id, None)
        with self._database.write() as connection:
            connection.execute(
                RUNS.update()
                .where(RUNS.c.id == run_id, RUNS.c.claim == claim)
                .values(pid=None, pid_started=None)
            )

    def append(
        self,
        run_id: str,
        kind: EntryKind,
        *,
        step: str | None = None,
        attempt: int = 0,
        payload: Mapping[str, JSON] | None = None,
    ) -> Entry:
        """One more line, on the disk when this returns. An intent is then copied to a store too;
        where that fails the run is marked local-only (R3). Raises `ClaimLost`.
        """
        row, entry = self._append(run_id, kind, step, attempt, payload_text(payload or {}))
        if kind == "intent":
            self._copy(run_from(row), entry)
        return entry

    @again_on_conflict
    def _append(
        self, run_id: str, kind: EntryKind, step: str | None, attempt: int, text: str
    ) -> tuple[Row[Any], Entry]:
        with self._lock, self._database.write() as connection:
            row = self._held(connection, run_id)
            return row, self._insert(connection, row, kind, step, attempt, text)

    @again_on_conflict
    def set_state(self, run_id: str, state: RunState, **payload: JSON) -> RunRecord:
        """Moves the run; an ended state closes it. ValueError: the table knows no such move."""
        with self._lock, self._database.write() as connection:
            row = self._held(connection, run_id)
            before = RunState(row.state)
            if state is not before and state not in _AFTER.get(before, frozenset()):
                raise ValueError(f"a run does not go from {before.name} to {state.name}")
            text = payload_text({**payload, "from": before.value, "to": state.value})
            entry = self._insert(connection, row, "state", None, 0, text)
            values: dict[str, Any] = {"state": state.value}
            if state.ended:
                values |= {"ended_at": entry.at, "pid": None, "pid_started": None}
            connection.execute(RUNS.update().where(RUNS.c.id == run_id).values(values))
        return self.run(run_id)

    @again_on_conflict
    def record(
        self,
        run_id: str,
        *,
        epoch: int | None = None,
        point_cut_at: datetime | None = None,
        outcome: str | None = None,
    ) -> RunRecord:
        """Writes down what became known of the run; what is None stays as it is."""
        known = {"epoch": epoch, "point_cut_at": point_cut_at, "outcome": outcome}
        values = {name: value for name, value in known.items() if value is not None}
        with self._lock, self._database.write() as connection:
            self._held(connection, run_id)
            connection.execute(RUNS.update().where(RUNS.c.id == run_id).values(values))
        return self.run(run_id)

    def holds(self, run_id: str) -> bool:
        """Whether this process still has the claim: asked directly before every effect (R5)."""
        with self._database.read() as connection:
            return bool(_row(connection, run_id).claim == self._claims.get(run_id))

    def runs(self) -> list[RunRecord]:
        """All runs, the newest first."""
        query = select(RUNS).order_by(RUNS.c.created_at.desc(), RUNS.c.id.desc())
        with self._database.read() as connection:
            return [run_from(row) for row in connection.execute(query)]

    def run(self, selector: str) -> RunRecord:
        """The run with that id or unique prefix of one, or "latest". Raises `ConfigError`."""
        runs = self.runs()
        found = [run for run in runs if run.id == selector] or (
            runs[:1] if selector == "latest" else [r for r in runs if r.id.startswith(selector)]
        )
        if len(found) == 1:
            return found[0]
        if found:
            several = ", ".join(run.id for run in found[:5])
            raise ConfigError(f"{selector!r} fits several runs: {several}", hint="write more of it")
        raise ConfigError(f"there is no run {selector!r}", hint="`drkit runs list` shows them")

    def entries(self, run_id: str, after_seq: int = 0) -> list[Entry]:
        """The lines after `after_seq`, in their order."""
        query = (
            select(RUN_ENTRIES)
            .where(RUN_ENTRIES.c.run_id == run_id, RUN_ENTRIES.c.seq > after_seq)
            .order_by(RUN_ENTRIES.c.seq)
        )
        with self._database.read() as connection:
            return [entry_from(row) for row in connection.execute(query)]

    def plan(self, run_id: str) -> Plan:
        """The frozen plan. Raises `DamagedData` when it is not what was frozen (R6)."""
        with self._database.read() as connection:
            row = _row(connection, run_id)
        try:
            plan = Plan.from_json(row.plan)
        except (ValueError, KeyError, TypeError) as error:
            raise _changed_plan(run_id, f"it cannot be read: {error}") from error
        if plan.checksum != row.plan_checksum:
            raise _changed_plan(run_id, "its checksum differs")
        return plan

    def open_run_of(self, service: str, namespace: str) -> RunRecord | None:
        """The run that is open, if one is."""
        query = select(RUNS).where(
            RUNS.c.service == service, RUNS.c.namespace == namespace, RUNS.c.ended_at.is_(None)
        )
        with self._database.read() as connection:
            row = connection.execute(query).first()
        return None if row is None else run_from(row)

    def _refusal(self, plan: Plan) -> RunOpen:
        open_run = self.open_run_of(plan.service, plan.namespace)
        name = open_run.id if open_run else "(just ended)"
        state = f" in {open_run.state.value}" if open_run else ""
        return RunOpen(
            f"{plan.service} has an open {plan.kind}: {name}{state}; nothing was started",
            hint=f"`drkit runs show {name}` says where it stands, "
            f"`drkit runs resume {name}` brings it to an end",
        )

    def _held(self, connection: Connection, run_id: str) -> Row[Any]:
        """The run's row. A run that nobody claimed yet takes entries from whoever opened it."""
        row = _row(connection, run_id)
        if row.claim != self._claims.get(run_id, 0):
            raise ClaimLost(
                f"run {run_id} is executed by another process now", hint="leave it to that one"
            )
        return row

    def _insert(
        self,
        connection: Connection,
        row: Row[Any],
        kind: EntryKind,
        step: str | None,
        attempt: int,
        text: str,
    ) -> Entry:
        last = connection.execute(
            select(RUN_ENTRIES)
            .where(RUN_ENTRIES.c.run_id == row.id)
            .order_by(RUN_ENTRIES.c.seq.desc())
            .limit(1)
        ).first()
        now = self._clock.now()
        values = {
            "run_id": row.id,
            "seq": last.seq + 1 if last else 1,
            "at": now,
            "elapsed_s": self._elapsed_s(row, last, now),
            "step": step,
            "attempt": attempt,
            "kind": kind,
            "payload": text,
        }
        connection.execute(RUN_ENTRIES.insert().values(values))
        inserted = select(RUN_ENTRIES).where(
            RUN_ENTRIES.c.run_id == row.id, RUN_ENTRIES.c.seq == values["seq"]
        )
        return entry_from(connection.execute(inserted).one())

    def _elapsed_s(self, row: Row[Any], last: Row[Any] | None, now: datetime) -> float:
        """Seconds since creation: counted on the steady clock within a process, and by the wall
        clock from the last entry of a former process to the first of this one; never backwards.
        """
        if row.id not in self._anchors:
            since = last.at if last else row.created_at
            before_s = last.elapsed_s if last else 0.0
            start_s = before_s + max(0.0, (now - since).total_seconds())
            self._anchors[row.id] = (start_s, self._clock.elapsed_s())
        start_s, mark_s = self._anchors[row.id]
        elapsed_s = start_s + self._clock.elapsed_s() - mark_s
        return max(elapsed_s, last.elapsed_s if last else 0.0)

    def _copy(self, run: RunRecord, entry: Entry) -> None:
        if run.local_only:
            return
        name = f"runs/{run.id}/{entry.seq:06d}-{entry.step}-intent"
        if self._copies is not None and self._copies(name, entry_bytes(run, entry)):
            return
        self._mark_local_only(run.id)

    @again_on_conflict
    def _mark_local_only(self, run_id: str) -> None:
        with self._lock, self._database.write() as connection:
            connection.execute(RUNS.update().where(RUNS.c.id == run_id).values(local_only=True))


def _after_table() -> dict[RunState, frozenset[RunState]]:
    return {
        state: frozenset(after for (before, _), after in RUN_TABLE.items() if before is state)
        for state in RunState
    }


_AFTER = _after_table()


def _row(connection: Connection, run_id: str) -> Row[Any]:
    row = connection.execute(select(RUNS).where(RUNS.c.id == run_id)).first()
    if row is None:
        raise ConfigError(f"there is no run {run_id!r}", hint="`drkit runs list` shows them")
    return row


def _changed_plan(run_id: str, why: str) -> DamagedData:
    return DamagedData(
        f"the frozen plan of run {run_id} is not what was frozen: {why}",
        hint=f"it will not be executed; `drkit runs show {run_id}` shows what was done so far",
    )
