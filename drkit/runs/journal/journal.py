"""The journal: what a run is about to do and what it did, durable before it goes on.

Every method is one serialisable transaction that has reached the disk when it returns. Only the
process that claimed a run last may write to it; one that lost its claim gets `ClaimLost`. What an
operator says (`ask`, `approve`) needs no claim: it changes nothing that a process has begun.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, select
from sqlalchemy.exc import IntegrityError

from drkit import __version__
from drkit.clock import Clock
from drkit.coordination.decisions import start
from drkit.errors import ConfigError, NeedsOperator
from drkit.runs.book.plan import Plan
from drkit.runs.journal.lines import Lines
from drkit.runs.journal.opening import Opener, Right, RunOpen, may_open, open_already
from drkit.runs.journal.reading import ReadableJournal, row_of
from drkit.runs.journal.rows import (
    ask_text,
    change_run,
    entry_values,
    payload_text,
    run_from,
    run_values,
)
from drkit.runs.journal.sealed import SealedRun
from drkit.runs.journal.sealing import Copy, Sealing, must_be_sealed
from drkit.runs.process import lives, own_mark
from drkit.runs.records import JSON, Ask, Entry, EntryKind, RunRecord, RunState
from drkit.runs.states import AFTER
from drkit.state.database import Database, again_on_conflict
from drkit.state.schema import RUN_ENTRIES, RUNS

__all__ = ["ClaimLost", "Copy", "Journal", "RunOpen"]

Notes = Sequence[tuple[EntryKind, Mapping[str, JSON]]]


class ClaimLost(NeedsOperator):
    """Another process executes this run now; this one may not go on."""


class Journal(ReadableJournal):
    """`copies` puts an object into one store; `machine` is the name of this one."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        copies: Copy | None = None,
        *,
        machine: str | None = None,
    ) -> None:
        super().__init__(database)
        self._clock = clock
        self._machine = machine
        self._sealing = Sealing(copies, clock)
        self._claims: dict[str, int] = {}
        self._lines = Lines(clock)
        self._lock = threading.Lock()

    def open_run(
        self,
        plan: Plan,
        *,
        sandbox: bool,
        first_failed_probe_at: datetime | None = None,
        opener: Opener | None = None,
    ) -> RunRecord:
        """A new run of `plan`, PLANNED. A run of production tells the service's drill to give way,
        and a drill does not begin beside one (R4).

        Raises `RunOpen`, naming the run that is open, `NotNow`, or `NeedsOperator` for a decision
        that is approved no more; then nothing was written.
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
            "opened_by": opener.who if opener else None,
            "unattended": opener is not None and opener.right is Right.UNATTENDED,
            "machine": self._machine,
        }
        try:
            self._open(row, opener)
        except IntegrityError:
            raise self._refusal(plan) from None
        return self.run(run_id)

    @again_on_conflict
    def _open(self, row: Mapping[str, Any], opener: Opener | None) -> None:
        """The row and its first entry, if nothing stands against it, all in one transaction."""
        production = row["namespace"] == "production"
        payload: dict[str, JSON] = {
            "from": None,
            "to": row["state"],
            "plan_checksum": row["plan_checksum"],
        }
        with self._database.write() as connection:
            of_service = (RUNS.c.service == row["service"], RUNS.c.ended_at.is_(None))
            if production and opener is not None:
                passed_over = may_open(connection, row["service"], opener, row["created_at"])
                payload |= {"who": opener.who, "right": opener.right.name.lower()}
                payload |= {"passed_over": list(passed_over)} if passed_over else {}
            connection.execute(RUNS.insert().values(row))
            if opener is not None and opener.decision_id is not None:
                start(connection, opener.decision_id, row["id"], row["created_at"])
            if production:
                connection.execute(
                    RUNS.update()
                    .where(*of_service)
                    .where(RUNS.c.namespace == "drill", RUNS.c.interrupted_by.is_(None))
                    .values(interrupted_by=row["id"])
                )
            elif found := connection.execute(
                select(RUNS).where(*of_service, RUNS.c.namespace == "production")
            ).first():
                raise open_already(run_from(found), "drill")
            inserted = row_of(connection, row["id"])
            self._lines.insert(connection, inserted, "state", None, 0, payload_text(payload))

    def unless_executed(self, run_id: str) -> None:
        """Raises `ClaimLost` when another process of this machine has the run, and lives."""
        with self._database.read() as connection:
            _unless_executed(row_of(connection, run_id))

    @again_on_conflict
    def claim(self, run_id: str, *, only_free: bool = False) -> RunRecord:
        """The run, which from now on only this process writes to. Raises `ClaimLost`, as above.
        Without the lease of the service it MUST be `only_free`: a claim that was not given back may
        be that of a process on another machine.
        """
        pid, mark = own_mark()
        with self._database.write() as connection:
            row = row_of(connection, run_id)
            _unless_executed(row, only_free)
            values = {"pid": pid, "pid_started": mark, "claim": row.claim + 1}
            if row.started_at is None:
                values["started_at"] = self._clock.now()
            change_run(connection, run_id, **values)
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
        """One more line, on the disk when this returns. What must be sealed is in a store then,
        too; where that fails the run is marked local-only (R3). Raises `ClaimLost`.
        """
        entry = self._append(run_id, kind, step, attempt, payload_text(payload or {}))
        self._seal(run_id, entry)
        return entry

    @again_on_conflict
    def _append(
        self, run_id: str, kind: EntryKind, step: str | None, attempt: int, text: str
    ) -> Entry:
        with self._lock, self._database.write() as connection:
            row = self._held(connection, run_id)
            return self._lines.insert(connection, row, kind, step, attempt, text)

    def set_state(
        self, run_id: str, state: RunState, answers: bool = False, /, **payload: JSON
    ) -> RunRecord:
        """Moves the run; an ended state closes it. `answers`: what was asked is done by this.

        ValueError: the table knows no such move.
        """
        self._seal(run_id, self._set_state(run_id, state, answers, payload))
        return self.run(run_id)

    @again_on_conflict
    def _set_state(
        self, run_id: str, state: RunState, answers: bool, payload: Mapping[str, JSON]
    ) -> Entry:
        with self._lock, self._database.write() as connection:
            row = self._held(connection, run_id)
            before = RunState(row.state)
            if state is not before and state not in AFTER[before]:
                raise ValueError(f"a run does not go from {before.name} to {state.name}")
            text = payload_text({**payload, "from": before.value, "to": state.value})
            entry = self._lines.insert(connection, row, "state", None, 0, text)
            values: dict[str, Any] = {"state": state.value}
            if state.ended:
                values |= {"ended_at": entry.at, "pid": None, "pid_started": None}
            if answers or state.ended:
                values |= {"asked": None}
            change_run(connection, run_id, **values)
        return entry

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
            change_run(connection, run_id, **values)
        return self.run(run_id)

    @again_on_conflict
    def ask(self, run_id: str, ask: Ask | None, *, who: str) -> RunRecord:
        """Tells an open run what an operator wants of it; None withdraws what was asked before.

        Raises `ConfigError` when it has ended: then there is nobody to ask.
        """
        with self._lock, self._database.write() as connection:
            row = row_of(connection, run_id)
            if RunState(row.state).ended:
                raise ConfigError(
                    f"run {run_id} has ended: it is {row.state}",
                    hint="`drkit runs list` shows those that are open",
                )
            if row.asked == ask_text(ask):
                return run_from(row)
            said: dict[str, JSON] = {"asked": ask.what if ask else None, "who": who}
            said["text"] = f"{who} asks for {ask.what}" if ask else f"{who} withdrew what was asked"
            self._lines.insert(connection, row, "note", None, 0, payload_text(said))
            values = {"asked": ask_text(ask)}
            change_run(connection, run_id, **values)
        return self.run(run_id)

    def approve(self, run_id: str, step: str, *, who: str) -> Entry:
        """Lets a step begin that waits for an operator."""
        return self.say(run_id, {"approved": who, "text": f"approved by {who}"}, step=step)

    @again_on_conflict
    def say(self, run_id: str, payload: Mapping[str, JSON], *, step: str | None = None) -> Entry:
        """A note by whoever says something about the run without executing it."""
        text = payload_text(payload)
        with self._lock, self._database.write() as connection:
            return self._lines.insert(connection, row_of(connection, run_id), "note", step, 0, text)

    def replan(self, run_id: str, plan: Plan, **payload: JSON) -> RunRecord:
        """The run goes on by another plan, and what was asked of it is done by this."""
        self._seal(run_id, self._replan(run_id, plan, payload))
        return self.run(run_id)

    @again_on_conflict
    def _replan(self, run_id: str, plan: Plan, payload: Mapping[str, JSON]) -> Entry:
        with self._lock, self._database.write() as connection:
            row = self._held(connection, run_id)
            said = {**payload, "from": row.plan_checksum, "to": plan.checksum}
            entry = self._lines.insert(connection, row, "replanned", None, 0, payload_text(said))
            values = {
                "plan": plan.to_json(),
                "plan_checksum": plan.checksum,
                "target": plan.target,
                "asked": None,
            }
            change_run(connection, run_id, **values)
            return entry

    def adopt(
        self,
        sealed: SealedRun,
        generation: int,
        notes: Notes,
    ) -> RunRecord:
        """The run of another machine is this one's from now on, as the stores knew it; what this
        machine had of it gives way. `notes` are its first entries here.
        """
        run_id = sealed.run.id
        entry = self._adopt(sealed, generation, notes)
        self._sealing.forget(run_id)
        self._seal(run_id, entry)
        return self.run(run_id)

    @again_on_conflict
    def _adopt(
        self,
        sealed: SealedRun,
        generation: int,
        notes: Notes,
    ) -> Entry:
        run_id = sealed.run.id
        with self._lock, self._database.write() as connection:
            former = connection.execute(select(RUNS).where(RUNS.c.id == run_id)).first()
            if former is not None:
                _unless_executed(former)
            connection.execute(RUN_ENTRIES.delete().where(RUN_ENTRIES.c.run_id == run_id))
            connection.execute(RUNS.delete().where(RUNS.c.id == run_id))
            values = run_values(sealed.run) | {
                "plan": sealed.plan.to_json(),
                "machine": self._machine,
                "generation": generation,
                "claim": (former.claim if former is not None else 0) + 1,
            }
            try:
                connection.execute(RUNS.insert().values(values))
            except IntegrityError:
                raise self._refusal(sealed.plan) from None
            for entry in sealed.entries:
                connection.execute(RUN_ENTRIES.insert().values(entry_values(run_id, entry)))
            self._claims[run_id] = values["claim"]
            self._lines.forget(run_id)
            row = row_of(connection, run_id)
            for kind, payload in notes:
                last = self._lines.insert(connection, row, kind, None, 0, payload_text(payload))
            return last

    def holds(self, run_id: str) -> bool:
        """Whether this process still has the claim: asked directly before every effect (R5)."""
        with self._database.read() as connection:
            return bool(row_of(connection, run_id).claim == self._claims.get(run_id))

    def unless_lost(self, run_id: str) -> None:
        """Raises `ClaimLost` when another process has the run by now."""
        with self._database.read() as connection:
            self._held(connection, run_id)

    def _refusal(self, plan: Plan) -> RunOpen:
        open_run = self.open_run_of(plan.service, plan.namespace)
        if open_run is None:
            return RunOpen(
                f"{plan.service} had an open {plan.kind} that just ended; nothing was started",
                hint="`drkit runs list` shows it; try again",
            )
        return open_already(open_run, plan.kind)

    def _held(self, connection: Connection, run_id: str) -> Row[Any]:
        """The run's row. A run that nobody claimed yet takes entries from whoever opened it."""
        row = row_of(connection, run_id)
        if row.claim != self._claims.get(run_id, 0):
            raise ClaimLost(
                f"run {run_id} is executed by another process now", hint="leave it to that one"
            )
        return row

    def _seal(self, run_id: str, entry: Entry) -> None:
        if not self._sealing.wanted(run_id, entry.kind, entry.payload):
            return
        sealed = self._sealing.send(run_id, entry.seq, lambda seq: self._of(run_id, seq))
        if not sealed and must_be_sealed(entry.kind, entry.payload):
            self._sealing.give_up(run_id)
            self._mark_local_only(run_id)

    def _of(self, run_id: str, after_seq: int) -> tuple[RunRecord, Plan, Sequence[Entry]]:
        return self.run(run_id), self.plan(run_id), self.entries(run_id, after_seq)

    @again_on_conflict
    def _mark_local_only(self, run_id: str) -> None:
        with self._lock, self._database.write() as connection:
            change_run(connection, run_id, local_only=True)


def _unless_executed(row: Row[Any], only_free: bool = False) -> None:
    other = (row.pid, row.pid_started) != own_mark() and lives(row.pid, row.pid_started)
    if other or (only_free and row.pid is not None):
        raise ClaimLost(
            f"run {row.id} is being executed by process {row.pid}",
            hint=f"look on: drkit runs attach {row.id}; stop it: drkit runs abort {row.id}",
        )
