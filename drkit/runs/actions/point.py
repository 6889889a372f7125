"""point: the recovery point that is restored, chosen under the role record (S14)."""

from __future__ import annotations

from datetime import datetime

from drkit.errors import NoRepository
from drkit.points.find import FoundPoint, choose_point, list_points
from drkit.runs.actions.interface import Action, Context, Done, StepCall
from drkit.runs.records import JSON, Effect
from drkit.units import format_duration


def find_point(context: Context, snapshot_id: str) -> FoundPoint:
    """The point of that snapshot, which an earlier step chose. Raises `NoRepository`."""
    for found in list_points(context.repository()):
        if found.id == snapshot_id:
            return found
    raise NoRepository(
        f"the point {snapshot_id[:8]} is in no store that answers", hint="bring its stores back"
    )


def _run(_call: StepCall, context: Context) -> Done:
    role = context.arbiter.read_role(context.plan.service)
    found = choose_point(list_points(context.repository()), context.plan.point, role=role)
    cut_at = _oldest_cut(context, found)
    sources: dict[str, JSON] = {}
    for name, part in found.point.sources.items():
        config = context.config.sources.get(name)
        sources[name] = {
            "kind": part.kind,
            "cut_at": part.cut_at.isoformat(),
            "lives_on": config.lives_on if config else None,
            "rpo_min": config.rpo_min if config else None,
            "files": part.files,
            "bytes": part.bytes,
        }
    output: dict[str, JSON] = {
        "snapshot_id": found.id,
        "point_cut_at": cut_at.isoformat(),
        "epoch": found.point.epoch,
        "stores": sorted(found.listed.stores),
        "sources": sources,
    }
    age = format_duration((context.clock.now() - cut_at).total_seconds())
    return Done(
        f"point {found.id[:8]}, {age} old, on {', '.join(sorted(found.listed.stores))}", output
    )


def _oldest_cut(context: Context, found: FoundPoint) -> datetime:
    """The cut of the worst source that has an objective; where none has, of all but weights, which
    are read only.
    """
    config = context.config.sources
    measured = [
        part.cut_at
        for name, part in found.point.sources.items()
        if name in config and config[name].rpo_min is not None
    ]
    every = [part.cut_at for part in found.point.sources.values() if part.kind != "weights"]
    return min(measured or every, default=found.point.created_at)


ACTION = Action("point", 1, Effect.READ, _run, data=True)
