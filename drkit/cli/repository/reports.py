"""What the data commands answer, as values for --json and as words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drkit.units import format_bytes, format_duration

if TYPE_CHECKING:
    from drkit.operations.points.backup import BackupReport
    from drkit.operations.points.restore import Restored
    from drkit.operations.status.standing import Standings
    from drkit.operations.status.status import Status
    from drkit.points.find import FoundPoint
    from drkit.repository.erase.standing import ErasureStanding


def backup_values(report: BackupReport) -> dict[str, Any]:
    write = report.write
    return {
        "snapshot_id": write.snapshot_id,
        "complete": report.point.complete,
        "whole": report.whole,
        "files_new": write.files_new,
        "files_changed": write.files_changed,
        "files_unmodified": write.files_unmodified,
        "bytes_scanned": write.bytes_scanned,
        "bytes_added": write.bytes_added,
        "stores": {
            result.store: {"complete": result.complete, "reason": result.reason}
            for result in write.stores
        },
        "weights_lagging": list(report.weights_lagging),
        "unreadable": [
            f"{name}: {path}"
            for name, part in report.point.sources.items()
            for path in part.unreadable
        ],
        "changing": [
            f"{name}: {path}"
            for name, part in report.point.sources.items()
            for path in part.changing
        ],
        "anomalies": list(report.anomalies),
    }


def backup_text(report: BackupReport, size: Callable[[float], str]) -> str:
    write = report.write
    lines = [
        f"point {write.snapshot_id[:8]}: {write.files_new} new, {write.files_changed} changed, "
        f"{write.files_unmodified} unmodified files; {size(write.bytes_scanned)} scanned, "
        f"{size(write.bytes_added)} added to each store"
    ]
    for result in write.stores:
        lines.append(f"  {result.store}: {'whole' if result.complete else result.reason}")
    for name, weights in report.point.weights.items():
        lines.append(f"  {name}: mirrored on {', '.join(weights.stores)} ({size(weights.bytes)})")
    lines += [f"  lagging: {reason}" for reason in report.weights_lagging]
    for name, part in report.point.sources.items():
        if part.error:
            lines.append(f"  {name}: kept as of {part.cut_at:%H:%M:%S}: {part.error}")
        lines += [f"  unreadable in {name}: {path}" for path in part.unreadable]
        lines += [f"  changed while it was read in {name}: {path}" for path in part.changing]
    lines += [f"  ANOMALY in {what}" for what in report.anomalies]
    return "\n".join(lines)


def restore_values(found: FoundPoint, restored: Restored) -> dict[str, Any]:
    return {
        "point": found.id,
        "trees": {
            name: {"files": report.files, "bytes": report.bytes, "not_made": report.not_made}
            for name, report in restored.trees.items()
        },
        "weights": restored.weights,
        "failed": restored.failed,
        "proofs": [
            {"check": p.check, "subject": p.subject, "passed": p.passed, "detail": p.detail}
            for p in restored.proofs
        ],
    }


def restore_text(found: FoundPoint, restored: Restored, target: Path) -> str:
    lines = [f"point {found.id[:8]} of {found.point.created_at:%Y-%m-%d %H:%M:%S} UTC in {target}"]
    for name, report in restored.trees.items():
        kept = f", {report.kept} kept as they were" if report.kept else ""
        unmade = f", {report.not_made} NOT restored" if report.not_made else ""
        lines.append(f"  {name}: {report.files} files, {format_bytes(report.bytes)}{kept}{unmade}")
    for name, count in restored.weights.items():
        lines.append(f"  {name}: {format_bytes(count)} of weights, every byte hashed")
    lines += [f"  {name}: NOT restored: {why}" for name, why in restored.failed.items()]
    for proof in restored.proofs:
        verdict = "proved" if proof.passed else "WRONG"
        lines.append(f"  {proof.subject}: {verdict}: {proof.detail}")
    return "\n".join(lines)


def status_rows(status: Status) -> list[dict[str, Any]]:
    rows = []
    for row in status.sources:
        proof = status.proof_age_s.get(row.store)
        lost = "everything" if row.lost_s is None else format_duration(row.lost_s)
        rows.append(
            {
                "source": row.source,
                "store": row.store,
                "lost_if_only_this_is_left": lost + (" (over the limit)" if row.broken else ""),
                "limit": format_duration(row.limit_s) if row.limit_s else "",
                "proved": "never" if proof is None else f"{format_duration(proof)} ago",
                "lost_s": row.lost_s,
                "proof_age_s": proof,
            }
        )
    return rows


def standing_rows(
    found: Standings,
) -> tuple[tuple[str, ...], list[dict[str, Any]], list[str]]:
    """Columns and rows of the stores, and what is to say of a prune that is under way."""
    rows = [
        {
            "store": one.store,
            "state": one.state,
            "why": one.why,
            "deletions_pending": one.pending,
            "removed_by_others": one.lost,
        }
        for one in found.stores
    ]
    words = [f"PRUNE HALTED: {problem}; drkit check" for problem in found.prune_halted]
    if found.prune_next:
        store, at = found.prune_next
        words.append(
            f"prune: {format_bytes(found.marked_bytes)} marked; "
            f"next {store}, not before {at:%Y-%m-%d %H:%M} UTC"
        )
    return ("store", "state", "why"), rows, words


def prune_standing(found: Standings) -> dict[str, Any]:
    """A prune that is under way, for programs."""
    store, at = found.prune_next or (None, None)
    return {
        "halted": list(found.prune_halted),
        "marked_bytes": found.marked_bytes,
        "next_store": store,
        "not_before": at.isoformat() if at else None,
    }


def erased_values(store: str, standing: ErasureStanding) -> dict[str, Any]:
    """How far an erasure is in one store."""
    return {
        "store": store,
        "state": standing.state,
        "until": standing.until.isoformat() if standing.until else None,
        "why": standing.why,
        "objects_left": standing.left,
    }
