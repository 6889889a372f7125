"""`drkit erase --weights`: a mirrored revision goes from every store, by a shown plan (K6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drkit.cli.apps import opened
from drkit.cli.session import Session

if TYPE_CHECKING:
    from drkit.mirror.remove import RemovalPlan
    from drkit.repository.erase.standing import ErasureStanding
    from drkit.wiring import App


def erase_weights(session: Session, named: str, apply: str | None) -> int:
    """Shows what `named` (MODEL@REVISION) is in each store; does exactly that with `apply`."""
    from drkit.errors import ConfigError, GuardRefused
    from drkit.mirror.remove import plan_removal, remove_mirror
    from drkit.repository.erase.standing import removed_standing
    from drkit.state.audit import AuditLog
    from drkit.stores.names import is_safe_name

    model, _, revision = named.rpartition("@")
    if not (model and revision and is_safe_name(f"{model}/{revision}") and "/" not in revision):
        raise ConfigError(
            f"{named!r} names no mirrored weights", hint="write MODEL@REVISION: Qwen3-4B@1cfa9a7"
        )
    with opened(session) as app:
        for name, source in app.weights_sources.items():
            if (source.model, source.revision) == (model, revision):
                raise GuardRefused(
                    f"{named} is what the source {name} mirrors; nothing was erased",
                    hint=f"take {name} out of schedules.yaml, or give it another revision first",
                )
        plan = plan_removal(app.stores, model, revision)
        _show(session, app, plan, model, revision)
        if plan.empty or apply is None or session.dry_run:
            if not plan.empty:
                typed = f"drkit erase --weights {named} --apply {plan.checksum}"
                session.terminal.say(f"nothing was done; to do exactly this: {typed}")
            _tell(session, {n: removed_standing(None, 0, why) for n, why in plan.away.items()})
            return 3 if plan.away and apply is not None else 0
        done = remove_mirror(app.stores, model, revision, checksum=apply, emit=app.emit)
        audit = AuditLog(app.database, app.clock)
        audit.append("erase", apply, {"weights": named, "bytes": plan.bytes})
        now = app.clock.now()
        found = {
            one.store: removed_standing(store, one.left, one.why, until=one.until, now=now)
            for store, one in zip(app.stores, done, strict=True)
        }
    _tell(session, found)
    return 0 if all(standing.state == "removed" for standing in found.values()) else 3


def _show(session: Session, app: App, plan: RemovalPlan, model: str, revision: str) -> None:
    from drkit.points.find import list_points
    from drkit.units import format_bytes

    points = [
        found.id
        for found in list_points(app.repository)
        if any((w.model, w.revision) == (model, revision) for w in found.point.weights.values())
    ]
    head = f"no store holds {plan.folder}"
    lines = []
    if not plan.empty:
        head = f"erases {plan.folder}: {plan.files} files, {format_bytes(plan.bytes)} in all stores"
        lines = [f"  {name}: {len(held)} objects" for name, held in plan.held.items() if held]
        lines += [f"  {len(points)} points lose their weights"] if points else []
    values = {
        "plan": plan.checksum,
        "folder": plan.folder,
        "stores": {name: len(held) for name, held in plan.held.items()},
        "bytes": plan.bytes,
        "points": points,
    }
    session.terminal.result("erase_weights_plan", values, "\n".join([head, *lines]))


def _tell(session: Session, found: dict[str, ErasureStanding]) -> None:
    from drkit.cli.repository.reports import erased_values

    for name, standing in found.items():
        session.terminal.result("erased", erased_values(name, standing), f"{name}: {standing}")
