"""A run as it is recorded; a test replaces what it is about."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from drkit.runs.book.plan import Plan
from drkit.runs.records import RunRecord, RunState

AT = datetime(2026, 1, 1, tzinfo=UTC)
RUN = RunRecord(
    id="run-1",
    service="chat",
    namespace="production",
    kind="failover",
    runbook="gpu",
    target="vast",
    state=RunState.RUNNING,
    plan_checksum="",
    epoch=None,
    sandbox=False,
    local_only=False,
    created_at=AT,
    started_at=AT,
    ended_at=None,
    first_failed_probe_at=None,
    point_cut_at=None,
    pid=None,
    drkit_version="0.1.0",
    outcome=None,
)
"""It is open, and nobody executes it."""


def run_of(plan: Plan, created_at: datetime, **changes: Any) -> RunRecord:
    """An open run of `plan`."""
    run = replace(
        RUN,
        service=plan.service,
        namespace=plan.namespace,
        kind=plan.kind,
        runbook=plan.runbook,
        target=plan.target,
        plan_checksum=plan.checksum,
        created_at=created_at,
        started_at=created_at,
    )
    return replace(run, **changes)
