"""Evidence as JSON, format 1, which docs/evidence.md describes. Keys are added, never renamed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum

from drkit.runs.evidence.values import Clocks, DataLoss, Evidence, PhaseLine, SourceLine, StepLine
from drkit.runs.records import JSON

FORMAT = 1


def evidence_json(evidence: Evidence) -> bytes:
    """UTF-8 text with `run_id` first. Times are those of the journal, to the microsecond; spans are
    seconds since the run began, and what was not measured is null.
    """
    report: dict[str, JSON] = {
        "run_id": evidence.run_id,
        "format": FORMAT,
        "verdict": evidence.verdict.value,
        "passed": evidence.passed,
        "headline": evidence.headline,
        "consequence": evidence.consequence,
        "counts_for_nothing_real": evidence.sandbox,
        "run": _run(evidence),
        "rto": _rto(evidence.clocks),
        "rpo": _rpo(evidence.data),
        "phases": [_phase(phase) for phase in evidence.phases],
        "steps": [_step(step) for step in evidence.steps],
        "pauses": _plain(evidence.gaps),
        "proofs": _plain(evidence.proofs),
        "not_exercised": [
            {"step": step.id, "reason": step.skipped_why or None, "who": step.skipped_by or None}
            for step in evidence.not_exercised
        ],
        "cost": {
            "total_usd": evidence.total_usd,
            "resources": [
                {**_members(cost), "usd": cost.usd, "still_there": cost.until is None}
                for cost in evidence.costs
            ],
        },
        "left_over": _plain(evidence.left_over),
        "overrides": _plain(evidence.overrides),
        "journal": [
            {name: value for name, value in _members(line).items() if name != "since_start_s"}
            for line in evidence.journal
        ],
        "generated_at": _plain(evidence.generated_at),
    }
    return (json.dumps(report, indent=1, ensure_ascii=False) + "\n").encode(errors="replace")


def _run(evidence: Evidence) -> JSON:
    return {
        "kind": evidence.kind,
        "service": evidence.service,
        "namespace": evidence.namespace,
        "runbook": evidence.runbook,
        "target": evidence.target,
        "lost": list(evidence.lost),
        "state": evidence.state,
        "outcome": evidence.outcome,
        "sandbox": evidence.sandbox,
        "local_only": evidence.local_only,
        "created_at": _plain(evidence.created_at),
        "started_at": _plain(evidence.started_at),
        "ended_at": _plain(evidence.ended_at),
        "first_failed_probe_at": _plain(evidence.first_failed_probe_at),
        "plan_checksum": evidence.plan_checksum,
        "epoch": evidence.epoch,
        "drkit_version": evidence.drkit_version,
        "action_versions": dict(evidence.action_versions),
    }


def _rto(clocks: Clocks) -> JSON:
    return {
        "recovered": clocks.recovered,
        "ended_with": clocks.ended_with or None,
        "t_exec_s": clocks.exec_s,
        "t_total_s": clocks.total_s,
        "target_s": clocks.target_s,
        "within": clocks.within,
    }


def _rpo(data: DataLoss) -> JSON:
    return {
        "loss_s": data.loss_s,
        "target_s": data.target_s,
        "within": data.within,
        "none_restored": data.none_restored,
        "worst": data.worst or None,
        "snapshot_id": data.snapshot_id or None,
        "stores": list(data.stores),
        "weights": data.weights or None,
        "sources": [_source(source) for source in data.sources],
    }


def _step(step: StepLine) -> JSON:
    return {**_members(step), "spent_s": step.spent_s}


def _phase(phase: PhaseLine) -> JSON:
    return {**_members(phase), "within": phase.within}


def _source(source: SourceLine) -> JSON:
    return {**_members(source), "within": source.within}


def _members(value: object) -> dict[str, JSON]:
    assert is_dataclass(value)
    return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}


def _plain(value: object) -> JSON:
    """JSON for our own values; an empty text stays an empty text."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, datetime):
        return value.isoformat(timespec="microseconds")
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, Sequence):
        return [_plain(inner) for inner in value]
    return _members(value)
