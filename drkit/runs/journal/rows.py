"""Rows of the state database to the values of records.py, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from sqlalchemy import Connection, Row, bindparam

from drkit.runs.records import JSON, Ask, Entry, RunRecord, RunState
from drkit.state.schema import RUNS

_CHANGE = RUNS.update().where(RUNS.c.id == bindparam("of_run"))


def run_from(row: Row[Any]) -> RunRecord:
    return RunRecord(
        id=row.id,
        service=row.service,
        namespace=row.namespace,
        kind=row.kind,
        runbook=row.runbook,
        target=row.target,
        state=RunState(row.state),
        plan_checksum=row.plan_checksum,
        epoch=row.epoch,
        sandbox=bool(row.sandbox),
        local_only=bool(row.local_only),
        created_at=row.created_at,
        started_at=row.started_at,
        ended_at=row.ended_at,
        first_failed_probe_at=row.first_failed_probe_at,
        point_cut_at=row.point_cut_at,
        pid=row.pid,
        drkit_version=row.drkit_version,
        outcome=row.outcome,
        interrupted_by=row.interrupted_by,
        opened_by=row.opened_by,
        unattended=bool(row.unattended),
        asked=None if row.asked is None else Ask(**json.loads(row.asked)),
        machine=row.machine,
        generation=row.generation,
    )


def ask_text(ask: Ask | None) -> str | None:
    """The column of what `run_from` reads back."""
    return None if ask is None else json.dumps(asdict(ask), sort_keys=True)


def entry_from(row: Row[Any]) -> Entry:
    return Entry(
        seq=row.seq,
        at=row.at,
        elapsed_s=row.elapsed_s,
        step=row.step,
        attempt=row.attempt,
        kind=row.kind,
        payload=json.loads(row.payload),
    )


def payload_text(payload: Mapping[str, JSON]) -> str:
    """Canonical JSON. TypeError names what is no JSON value: an action's mistake."""
    return json.dumps(payload, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def run_values(run: RunRecord) -> dict[str, Any]:
    """The columns of a run that nobody executes; its plan and claim are not among them."""
    values = {field.name: getattr(run, field.name) for field in fields(run)}
    return values | {"state": run.state.value, "pid": None, "asked": ask_text(run.asked)}


def entry_values(run_id: str, entry: Entry) -> dict[str, Any]:
    values = {field.name: getattr(entry, field.name) for field in fields(entry)}
    return {"run_id": run_id} | values | {"payload": payload_text(entry.payload)}


def change_run(connection: Connection, run_id: str, **values: Any) -> None:
    """These columns of the run have these values now."""
    connection.execute(_CHANGE, {"of_run": run_id, **values})
