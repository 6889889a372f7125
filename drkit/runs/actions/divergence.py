"""divergence: what was written where, before anything is chosen; nothing is merged by itself (Q4).

Written at the target: the final point against the one that was restored there, by path and hash.
Stranded at home: home as it is now against the point that was restored. Collections: by point id.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice

from drkit.errors import NoRepository
from drkit.repository.restore.compare import compare_tree
from drkit.repository.trees.diff import Diff
from drkit.runs.actions.asking import ask_once
from drkit.runs.actions.interface import Action, Context, Done, StepCall
from drkit.runs.actions.places import Move, TreeMove, VectorMove, moves_of
from drkit.runs.actions.point import find_point
from drkit.runs.records import JSON, Effect

_NAMED = 100


@dataclass(slots=True)
class _Side:
    """How much, and the first of it by name."""

    count: int = 0
    named: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, names: Iterable[str]) -> _Side:
        side = cls()
        for name in names:
            side.count += 1
            if side.count <= _NAMED:
                side.named.append(name)
        return side

    def to_json(self) -> dict[str, JSON]:
        return {"count": self.count, "named": list(self.named)}


def _run(call: StepCall, context: Context) -> Done:
    """Asks when home has what the swap would set aside; resuming the run is the answer."""
    written: dict[str, JSON] = {}
    stranded: dict[str, JSON] = {}
    aside = []
    for move in moves_of(call, context):
        there, here = _compare(call, context, move)
        written[move.name], stranded[move.name] = there.to_json(), here.to_json()
        said = f"{move.name}: {there.count} written at {context.plan.target}, {here.count} stranded"
        call.guard.note({"text": f"{said} at home{_first(there, here)}"})
        if here.count:
            aside.append(f"{here.count} of {move.name}{_first(here)}")
    output: dict[str, JSON] = {"written": written, "stranded": stranded}
    if aside:
        ask_once(
            call,
            stranded,
            f"home has what no point holds: {'; '.join(aside)}. It will be set aside, and kept",
            hint=f"`drkit runs show {call.run_id}` has the lists; `drkit runs resume` goes on, and "
            "nothing is merged",
        )
    if not written:
        return Done(f"nothing was written at {context.plan.target} that could differ", output)
    return Done(f"{', '.join(written)} compared; what home has alone is kept beside", output)


def _compare(call: StepCall, context: Context, move: Move) -> tuple[_Side, _Side]:
    match move:
        case TreeMove():
            return _trees(call, context, move)
        case VectorMove():
            return _vectors(move)


def _trees(call: StepCall, context: Context, move: TreeMove) -> tuple[_Side, _Side]:
    repository = context.repository()
    final = _subtree(call, context, move.name, "final")
    try:
        former = _subtree(call, context, move.name, "snapshot")
    except NoRepository:  # it has expired: nothing can be told apart, so everything is
        former = None
    if former is None:
        return _Side.of([]), _Side.of([f"{move.home}"] if move.home.exists() else [])
    changes = Diff(repository, former, final or former).changes()
    written = _Side.of(f"{change.modifier} {change.path}" for change in changes)
    if not move.home.is_dir():
        return written, _Side()
    differences = compare_tree(repository, former, move.home, context.emit)
    return written, _Side.of(f"{each.path} {each.what}" for each in differences)


def _subtree(call: StepCall, context: Context, name: str, argument: str) -> str | None:
    found = find_point(context, call.text(argument))
    part = found.point.sources.get(name)
    if part is None:
        return None
    return context.repository().find_node(found.listed.snapshot, part.path).subtree


def _vectors(move: VectorMove) -> tuple[_Side, _Side]:
    """By the ids of points; what only one side has. Home asks by the alias that clients ask."""
    away, home = move.away(), move.home()
    aliases, at_home = home.aliases(), home.collections()
    written: list[str] = []
    stranded: list[str] = []
    for collection in move.new:
        there = {str(each) for each in away.ids(collection)}
        alias = next((a for a, c in away.aliases().items() if c == collection), collection)
        own = aliases.get(alias, collection)
        here = {str(each) for each in home.ids(own)} if own in at_home else set()
        written += [f"{collection} {each}" for each in sorted(there - here)]
        stranded += [f"{collection} {each}" for each in sorted(here - there)]
    return _Side.of(written), _Side.of(stranded)


def _first(*sides: _Side) -> str:
    named = [name for side in sides for name in islice(side.named, 3)]
    return f" ({', '.join(named)} ...)" if named else ""


ACTION = Action("divergence", 1, Effect.READ, _run)
