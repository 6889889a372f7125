"""swap_home: what came home takes the former one's place, which stays beside it (R7).

A folder is renamed, collections are swapped by their aliases in one request. Each half can be told
from what is there, so that it may die between any two of them and is done again.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from drkit.errors import GuardRefused, PlaceError
from drkit.runs.actions.asking import ask_once
from drkit.runs.actions.interface import Action, Context, Done, StepCall
from drkit.runs.actions.places import TreeMove, VectorMove, fingerprint, moves_of
from drkit.runs.actions.restore_home import new_alias
from drkit.runs.records import JSON, Effect
from drkit.stores.durable import sync_folder


def _run(call: StepCall, context: Context) -> Done:
    swapped: dict[str, JSON] = {}
    _unless_written_since(call, context)
    for move in moves_of(call, context):
        call.guard.check()
        match move:
            case TreeMove():
                swapped[move.name] = _swap_tree(move)
            case VectorMove():
                swapped[move.name] = _swap_vectors(call, move)
    if not swapped:
        return Done("nothing came home that would have to be swapped", {"kept": {}})
    return Done(f"{', '.join(swapped)} is at home; the former is kept", {"kept": swapped})


def _unless_written_since(call: StepCall, context: Context) -> None:
    """Asks when the target was written to after the fence saw it quiet: the final point may lack
    that. `quiet` are the fingerprints of then; none where somebody accepted what comes.
    """
    quiet = call.arguments.get("quiet")
    if not isinstance(quiet, Mapping):
        return
    now = {move.name: fingerprint(move) for move in moves_of(call, context)}
    written: list[JSON] = [name for name in now if now[name] != quiet.get(name)]
    if written:
        names = ", ".join(map(str, written))
        ask_once(
            call,
            {name: now[str(name)] for name in map(str, written)},
            f"{names} at {context.plan.target} was written to after the final point was begun",
            hint=f"`drkit runs rollback {call.run_id}` leads users back there, to fail back anew; "
            f"`drkit runs resume {call.run_id}` goes on without what was written",
        )


def _swap_tree(move: TreeMove) -> str:
    """Where the former folder is kept; empty if there was none."""
    if move.beside.exists():
        if move.home.is_symlink() or move.home.exists():
            if move.kept.exists():
                raise GuardRefused(
                    f"{move.kept} is there, and so is {move.home}: somebody made it meanwhile",
                    hint=f"see what wrote to {move.home}, move it away, and resume the run",
                )
            _rename(move.home, move.kept)
        _rename(move.beside, move.home)
        sync_folder(move.home.parent)
    elif not move.home.exists():
        raise GuardRefused(
            f"neither {move.beside} nor {move.home} is there",
            hint=f"{move.kept} is the former one, if it was there; roll the run back",
        )
    return str(move.kept) if move.kept.exists() else ""


def _unswap_tree(move: TreeMove) -> str:
    if move.beside.exists():  # the second rename never came
        if move.kept.exists() and not move.home.exists():
            _rename(move.kept, move.home)
            sync_folder(move.home.parent)
        return f"{move.home} is as it was"
    if not move.kept.exists():
        return f"{move.home} stays: there was none before"
    _rename(move.home, move.beside)
    _rename(move.kept, move.home)
    sync_folder(move.home.parent)
    return f"{move.home} is the former one again"


def _rename(old: Path, new: Path) -> None:
    try:
        old.rename(new)
    except OSError as error:
        raise PlaceError(
            f"{old} cannot be renamed to {new.name}: {error.strerror}",
            hint="a mount point cannot be: swap it by hand, then resume the run",
        ) from error


def _swap_vectors(call: StepCall, move: VectorMove) -> dict[str, JSON]:
    """The collection that each alias named before; empty where it named none."""
    home, away = move.home(), move.away()
    at_home, there = home.aliases(), away.aliases()
    former: dict[str, JSON] = {}
    actions = []
    for alias, collection in sorted(there.items()):
        if collection not in move.new:
            continue
        new, temporary = move.new[collection], new_alias(move, alias)
        if at_home.get(alias) != new:
            former[alias] = at_home.get(alias, "")
            if alias in at_home:
                actions.append({"delete_alias": {"alias_name": alias}})
            actions.append({"create_alias": {"collection_name": new, "alias_name": alias}})
        if temporary in at_home:
            actions.append({"delete_alias": {"alias_name": temporary}})
    if former:
        call.guard.note(
            {
                "aliases": {"source": move.name, "former": former},
                "text": f"{', '.join(former)} at {move.home_url} changes hands",
            }
        )
        call.guard.check()
    if actions:
        home.change_aliases(actions)
    return former or _noted(call, move)


def _noted(call: StepCall, move: VectorMove) -> dict[str, JSON]:
    """What the aliases named before this run changed them first."""
    for noted in call.guard.notes("aliases"):
        former = noted.get("former")
        if noted.get("source") == move.name and isinstance(former, dict):
            return former
    return {}


def _unswap_vectors(call: StepCall, move: VectorMove) -> str:
    home = move.home()
    at_home = home.aliases()
    actions = []
    for alias, before in _noted(call, move).items():
        if at_home.get(alias) not in move.new.values():
            continue
        actions.append({"delete_alias": {"alias_name": alias}})
        if before:
            actions.append({"create_alias": {"collection_name": str(before), "alias_name": alias}})
    if actions:
        call.guard.check()
        home.change_aliases(actions)
    return f"{move.name}'s aliases are as they were"


def _undo(call: StepCall, _done: Done | None, context: Context) -> str:
    said = []
    for move in moves_of(call, context):
        call.guard.check()
        match move:
            case TreeMove():
                said.append(_unswap_tree(move))
            case VectorMove():
                said.append(_unswap_vectors(call, move))
    return "; ".join(said) or "nothing was swapped"


ACTION = Action("swap_home", 1, Effect.WRITE, _run, undo=_undo, data=True)
