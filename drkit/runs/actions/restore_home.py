"""restore_home: the final point's data comes back beside what is at home (R7); nothing is replaced
yet. Only what was brought to the target, and only to where it lives.
"""

from __future__ import annotations

import json

from drkit.errors import GuardRefused
from drkit.repository.restore.lawful import lawful
from drkit.repository.restore.restore import restore_tree
from drkit.runs.actions.interface import Action, Context, Done, StepCall
from drkit.runs.actions.places import Move, TreeMove, VectorMove, moves_of
from drkit.runs.actions.point import find_point
from drkit.runs.actions.removal import remove_own
from drkit.runs.records import JSON, Effect
from drkit.sources.qdrant_rest import aliases_of


def _run(call: StepCall, context: Context) -> Done:
    """May be repeated: what an earlier attempt left beside is removed first."""
    restored: dict[str, JSON] = {}
    for move in moves_of(call, context):
        call.guard.check()
        match move:
            case TreeMove():
                restored[move.name] = _tree(call, context, move)
            case VectorMove():
                restored[move.name] = _vectors(call, context, move)
    if not restored:
        return Done("nothing lives at the target that would have to come home", {"restored": {}})
    return Done(f"{', '.join(restored)} restored beside what is at home", {"restored": restored})


def _tree(call: StepCall, context: Context, move: TreeMove) -> dict[str, JSON]:
    if move.kept.exists():
        raise GuardRefused(
            f"{move.kept} is there: {move.home} was swapped by this run already",
            hint="resume the run after its swap, or roll it back",
        )
    remove_own(move.beside)
    found = find_point(context, call.text("snapshot"))
    repository = context.repository()
    path = found.point.sources[move.name].path
    node = repository.find_node(found.listed.snapshot, path)
    options = lawful(repository, found.listed.snapshot, path)
    report = restore_tree(repository, node, move.beside, context.emit, options)
    return {"into": str(move.beside), "files": report.files, "bytes": report.bytes}


def _vectors(call: StepCall, context: Context, move: VectorMove) -> dict[str, JSON]:
    from drkit.sources.qdrant_restore import restore_qdrant
    from drkit.sources.qdrant_snapshot import COLLECTION

    folder = context.work_dir / "home" / move.name
    remove_own(folder)
    found = find_point(context, call.text("snapshot"))
    repository = context.repository()
    path = found.point.sources[move.name].path
    node = repository.find_node(found.listed.snapshot, path)
    restore_tree(
        repository, node, folder, context.emit, lawful(repository, found.listed.snapshot, path)
    )
    parts = [json.loads(path.read_bytes()) for path in sorted(folder.glob(f"*/{COLLECTION}"))]
    aliases = {alias: new_alias(move, alias) for part in parts for alias in part["aliases"]}
    drop_own(call, move)
    made: list[JSON] = [*move.new.values()]
    call.guard.note(
        {
            "made": {"source": move.name, "url": move.home_url, "collections": made},
            "text": f"makes {', '.join(move.new.values())} at {move.home_url}",
        }
    )
    call.guard.check()
    restore_qdrant(
        folder,
        move.home_url,
        move.home_key,
        names={**move.new, **aliases},
        emit=context.emit,
        made_for=call.run_id,
        clock=context.clock,
    )
    remove_own(folder)
    return {"url": move.home_url, "collections": made}


def new_alias(move: VectorMove, alias: str) -> str:
    """What an alias is called until it is swapped."""
    suffix = next(iter(move.new.values())).rpartition("-")[2]
    return f"{alias}-{suffix}"


def drop_own(call: StepCall, move: VectorMove) -> list[str]:
    """Drops the collections that this run made beside; refuses one that clients ask already."""
    from drkit.sources.qdrant_restore import drop_restored

    home = move.home()
    there, aliases = home.collections(), home.aliases()
    dropped: list[str] = []
    for collection in move.new.values():
        if collection not in there:
            continue
        own = collection.rpartition("-")[2]
        if asked := [a for a in aliases_of(aliases, collection) if not a.endswith(f"-{own}")]:
            raise GuardRefused(
                f"{collection} at {move.home_url} is asked as {', '.join(asked)} and not dropped",
                hint="take the swap back first: drkit runs resume",
            )
        call.guard.check()
        dropped += drop_restored(
            move.home_url, move.home_key, names=(collection,), made_for=call.run_id
        )
    return dropped


def _undo(call: StepCall, _done: Done | None, context: Context) -> str:
    removed = []
    for move in moves_of(call, context):
        removed += _undo_one(call, move)
    return f"{', '.join(removed)} removed" if removed else "nothing lies beside"


def _undo_one(call: StepCall, move: Move) -> list[str]:
    match move:
        case TreeMove():
            there = move.beside.exists()
            remove_own(move.beside)
            return [str(move.beside)] if there else []
        case VectorMove():
            return drop_own(call, move)


ACTION = Action("restore_home", 1, Effect.WRITE, _run, undo=_undo, own=True, data=True)
