"""Reading journals: what runs there are, where they stand, and what they wrote."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select

from drkit.errors import ConfigError, DamagedData
from drkit.runs.book.plan import Plan
from drkit.runs.journal.rows import entry_from, run_from
from drkit.runs.process import lives
from drkit.runs.records import Entry, RunRecord
from drkit.state.database import Database
from drkit.state.schema import RUN_ENTRIES, RUNS

# Asked at every step; a statement that stands is not built anew each time.
_RUN = select(RUNS).where(RUNS.c.id == bindparam("run_id"))
_ENTRIES = (
    select(RUN_ENTRIES)
    .where(RUN_ENTRIES.c.run_id == bindparam("run_id"), RUN_ENTRIES.c.seq > bindparam("after_seq"))
    .order_by(RUN_ENTRIES.c.seq)
)
_RUNS = select(RUNS).order_by(RUNS.c.created_at.desc(), RUNS.c.id.desc())
_OPEN = select(RUNS).where(
    RUNS.c.service == bindparam("service"),
    RUNS.c.namespace == bindparam("namespace"),
    RUNS.c.ended_at.is_(None),
)


class ReadableJournal:
    """What any number of processes may do at any time."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def runs(self) -> list[RunRecord]:
        """All runs, the newest first."""
        with self._database.read() as connection:
            return [run_from(row) for row in connection.execute(_RUNS)]

    def run(self, selector: str) -> RunRecord:
        """The run with that id or unique prefix of one, or "latest". Raises `ConfigError`."""
        with self._database.read() as connection:
            row = connection.execute(_RUN, {"run_id": selector}).first()
        if row is not None:
            return run_from(row)
        runs = self.runs()
        found = runs[:1] if selector == "latest" else [r for r in runs if r.id.startswith(selector)]
        if len(found) == 1:
            return found[0]
        if found:
            several = ", ".join(run.id for run in found[:5])
            raise ConfigError(f"{selector!r} fits several runs: {several}", hint="write more of it")
        if not runs:
            raise ConfigError(
                "no run was made on this machine so far",
                hint="`drkit runs resume RUN` takes over one of another machine, by its id",
            )
        raise ConfigError(f"there is no run {selector!r}", hint="`drkit runs list` shows them")

    def entries(self, run_id: str, after_seq: int = 0) -> list[Entry]:
        """The lines after `after_seq`, in their order."""
        of_run = {"run_id": run_id, "after_seq": after_seq}
        with self._database.read() as connection:
            return [entry_from(row) for row in connection.execute(_ENTRIES, of_run)]

    def plan(self, run_id: str) -> Plan:
        """The frozen plan. Raises `DamagedData` when it is not what was frozen (R6)."""
        with self._database.read() as connection:
            row = row_of(connection, run_id)
        try:
            plan, checksum = _plan_from(row.plan)
        except (ValueError, KeyError, TypeError) as error:
            raise _changed_plan(run_id, f"it cannot be read: {error}") from error
        if checksum != row.plan_checksum:
            raise _changed_plan(run_id, "its checksum differs")
        return plan

    def is_executed(self, run_id: str) -> bool:
        """Whether a process of this machine executes the run now."""
        with self._database.read() as connection:
            row = row_of(connection, run_id)
        return lives(row.pid, row.pid_started)

    def is_free(self, run_id: str) -> bool:
        """Whether whoever executed the run last gave it back; else it died, or lives somewhere."""
        with self._database.read() as connection:
            return row_of(connection, run_id).pid is None

    def open_run_of(self, service: str, namespace: str) -> RunRecord | None:
        """The run that is open, if one is."""
        of_service = {"service": service, "namespace": namespace}
        with self._database.read() as connection:
            row = connection.execute(_OPEN, of_service).first()
        return None if row is None else run_from(row)


@lru_cache(maxsize=16)
def _plan_from(text: str) -> tuple[Plan, str]:
    """The plan and its checksum: asked for at every step, and the same text each time."""
    plan = Plan.from_json(text)
    return plan, plan.checksum


def row_of(connection: Connection, run_id: str) -> Row[Any]:
    row = connection.execute(_RUN, {"run_id": run_id}).first()
    if row is None:
        raise ConfigError(f"there is no run {run_id!r}", hint="`drkit runs list` shows them")
    return row


def _changed_plan(run_id: str, why: str) -> DamagedData:
    return DamagedData(
        f"the frozen plan of run {run_id} is not what was frozen: {why}",
        hint=f"it will not be executed; `drkit runs show {run_id}` shows what was done so far",
    )
