"""restore: what was lost comes back, into fresh places of this run's own (R7).

A failover brings back what lived on lost sites; a drill brings back every source of the point.
"""

from __future__ import annotations

from pathlib import Path

from drkit.errors import GuardRefused
from drkit.points.find import FoundPoint
from drkit.repository.restore.lawful import lawful
from drkit.repository.restore.restore import restore_tree
from drkit.runs.actions.interface import Action, Context, Done, StepCall
from drkit.runs.actions.point import find_point
from drkit.runs.actions.removal import remove_own
from drkit.runs.actions.vectors import drop_restored, restore_vectors
from drkit.runs.records import JSON, Effect


def _wanted(context: Context, found: FoundPoint) -> list[str]:
    if context.plan.kind == "drill":
        return list(found.point.sources)
    config = context.config.sources
    return [
        name
        for name in found.point.sources
        if name in config and config[name].lives_on in context.plan.lost
    ]


def _run(call: StepCall, context: Context) -> Done:
    found = find_point(context, call.text("snapshot"))
    restored: dict[str, JSON] = {}
    for name in _wanted(context, found):
        call.guard.check()
        restored[name] = _restore(call, context, found, name)
    stays = [name for name in found.point.sources if name not in restored]
    output: dict[str, JSON] = {"restored": restored, "in_place": list(stays)}
    said = f"{', '.join(restored) or 'nothing was lost that'} came back"
    return Done(said + (f"; {', '.join(stays)} stayed in place" if stays else ""), output)


def _restore(call: StepCall, context: Context, found: FoundPoint, name: str) -> dict[str, JSON]:
    part = found.point.sources[name]
    root = _root(context) / name
    _clear(root, _root(context))
    repository = context.repository()
    node = repository.find_node(found.listed.snapshot, part.path)
    start_s = context.clock.elapsed_s()
    options = lawful(repository, found.listed.snapshot, part.path)
    report = restore_tree(repository, node, root, context.emit, options)
    restored: dict[str, JSON] = {"into": str(root), "files": report.files, "bytes": report.bytes}
    if part.kind == "qdrant":
        restored |= restore_vectors(call, context, name, root)
    restored["seconds"] = round(context.clock.elapsed_s() - start_s, 3)
    return restored


def _root(context: Context) -> Path:
    return context.work_dir / "restore"


def _clear(place: Path, root: Path) -> None:
    """Removes what an earlier attempt of this run left there; nothing outside the run's folder."""
    if not place.resolve().is_relative_to(root.resolve()):
        raise GuardRefused(
            f"{place} is not below {root}", hint="this is a bug; nothing was removed"
        )
    remove_own(place)


def _undo(call: StepCall, done: Done | None, context: Context) -> str:
    dropped = drop_restored(call, context)
    _clear(_root(context), context.work_dir)
    if _root(context).exists():
        raise GuardRefused(f"{_root(context)} could not be removed", hint="remove it by hand")
    collections = f" and {', '.join(dropped)}" if dropped else ""
    return f"the restored folders{collections} are removed"


ACTION = Action("restore", 1, Effect.WRITE, _run, undo=_undo, own=True, data=True)
