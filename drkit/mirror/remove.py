"""Takes a mirrored model out of stores for good, by a plan that is shown first (K6)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import orjson

from drkit.errors import DrkitError, GuardRefused
from drkit.events import Emit, Progress
from drkit.mirror.manifest import MANIFEST, mirror_folder
from drkit.stores.interface import Retained, Store


@dataclass(frozen=True, slots=True)
class RemovalPlan:
    """The objects below `folder` with their sizes, by store; `away`: stores that do not say."""

    folder: str
    held: Mapping[str, Mapping[str, int]]
    away: Mapping[str, str]

    @property
    def bytes(self) -> int:
        """In all stores together."""
        return sum(sum(objects.values()) for objects in self.held.values())

    @property
    def files(self) -> int:
        return len({name for objects in self.held.values() for name in objects})

    @property
    def empty(self) -> bool:
        return not any(self.held.values())

    @property
    def checksum(self) -> str:
        """What to name to have exactly this done."""
        said = [self.folder, {name: dict(held) for name, held in self.held.items()}]
        return hashlib.sha256(orjson.dumps(said, option=orjson.OPT_SORT_KEYS)).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class Removal:
    """What became of one store. `left`: objects that it still has, and `why`; `until`: when the
    last lock on them ends, where the store says so.
    """

    store: str
    left: int = 0
    why: str = ""
    until: datetime | None = None


def plan_removal(stores: Sequence[Store], model: str, revision: str) -> RemovalPlan:
    """What lies there now, in any of `stores`; nothing is changed."""
    folder = mirror_folder(model, revision)
    held: dict[str, dict[str, int]] = {}
    away: dict[str, str] = {}
    for store in stores:
        try:
            held[store.name] = {info.name: info.size_bytes for info in store.list(folder)}
        except DrkitError as error:
            away[store.name] = error.message
    return RemovalPlan(folder, held, away)


def remove_mirror(
    stores: Sequence[Store], model: str, revision: str, *, checksum: str, emit: Emit
) -> tuple[Removal, ...]:
    """Does what `plan_removal` says, if its checksum is still that. The manifest goes first, so
    that a mirror of which a part is gone is none. A store that fails stops no other; run again, it
    goes on.

    Raises `GuardRefused`, with nothing changed, when the plan is another one by now.
    """
    plan = plan_removal(stores, model, revision)
    if plan.checksum != checksum:
        raise GuardRefused(
            f"the plan is {plan.checksum} by now, not {checksum}; nothing was done",
            hint="look at it again: the same command without --apply",
        )
    return tuple(
        Removal(store.name, why=plan.away[store.name])
        if store.name in plan.away
        else _remove(store, plan, emit)
        for store in stores
    )


def _remove(store: Store, plan: RemovalPlan, emit: Emit) -> Removal:
    names = sorted(plan.held[store.name], key=lambda name: (name != plan.folder + MANIFEST, name))
    left, why, until = 0, "", None
    for done, name in enumerate(names):
        emit(Progress(f"erase {store.name}", done, len(names), "files", name))
        try:
            store.delete(name)
        except DrkitError as error:
            if name == plan.folder + MANIFEST and not isinstance(error, Retained):
                return Removal(store.name, len(names), error.message)
            left, why = left + 1, error.message
            if isinstance(error, Retained) and error.until is not None:
                until = max(until or error.until, error.until)
    return Removal(store.name, left, why, until)
