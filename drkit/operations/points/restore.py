"""Brings a point, or one source of it, back into an empty folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from drkit.clock import Clock
from drkit.errors import ConfigError, DrkitError, GuardRefused
from drkit.events import Emit, Note
from drkit.mirror.fetch import fetch_ticket, wires_of
from drkit.mirror.manifest import Manifest
from drkit.mirror.read import NoMirror, find_manifest
from drkit.mirror.ticket import mint_ticket
from drkit.operations.points.restore_snapshot import Patterned, may_be_written, prove
from drkit.points.find import FoundPoint
from drkit.points.point import WeightsPart
from drkit.repository.repository import Repository
from drkit.repository.restore.lawful import lawful
from drkit.repository.restore.restore import RestoreOptions, RestoreReport, restore_tree
from drkit.stores.interface import Store
from drkit.verify.proof import Proof
from drkit.verify.weights import verify_weights

_TICKET_S = 3600.0


@dataclass(frozen=True, slots=True)
class Restored:
    """What came back where. `failed`: sources that no reachable store could give, with why."""

    trees: dict[str, RestoreReport]
    weights: dict[str, int]
    failed: dict[str, str]
    proofs: tuple[Proof, ...]


def wanted_sources(found: FoundPoint, only: Sequence[str]) -> tuple[str, ...]:
    """The sources of the point to restore. ConfigError for one that it does not hold."""
    held = (*found.point.sources, *found.point.weights)
    for name in only:
        if name not in held:
            raise ConfigError(
                f"the point {found.id[:8]} holds no {name!r}", hint=f"it holds {', '.join(held)}"
            )
    return tuple(name for name in held if not only or name in only)


def restore_point(
    repository: Repository,
    found: FoundPoint,
    target: Path,
    *,
    only: Sequence[str] = (),
    verify: bool,
    stores: Sequence[Store],
    clock: Clock,
    emit: Emit,
    options: RestoreOptions = RestoreOptions(),
    patterns: Patterned = Patterned(),
    known: Sequence[str] = (),
) -> Restored:
    """Restores each source as `target/<source>`; weights come from their mirror. A place in use is
    written to only when `options` says so and `known` names its source (R7).

    Raises `GuardRefused` before anything is written when a place is not empty, and `DamagedData`,
    naming the file, when a blob is lost in every store.
    """
    names = wanted_sources(found, only)
    nodes = {
        name: repository.find_node(found.listed.snapshot, part.path)
        for name, part in found.point.sources.items()
        if name in names
    }
    for name in names:
        if name in nodes:
            may_be_written(target / name, nodes[name].subtree or "", options, known)
        elif not options.dry_run:
            _refuse_weights_place(target / name)
    trees: dict[str, RestoreReport] = {}
    weights: dict[str, int] = {}
    failed: dict[str, str] = {}
    proofs: list[Proof] = []
    for name in names:
        place = target / name
        if part := found.point.sources.get(name):
            node = nodes[name]
            chosen = replace(
                options, wanted=patterns.wanted(f"/{name}"), total_bytes=part.bytes or None
            )
            chosen = lawful(repository, found.listed.snapshot, part.path, chosen)
            trees[name] = restore_tree(repository, node, place, emit, chosen)
            if verify and not options.dry_run:
                proofs.append(
                    prove(repository, node.subtree or "", place, chosen, emit, subject=name)
                )
            continue
        mirrored = found.point.weights[name]
        if options.dry_run:
            weights[name] = mirrored.bytes
            continue
        try:
            manifest, weights[name] = _fetch_weights(mirrored, place, stores, clock, emit)
            if verify:
                proofs.append(verify_weights(manifest, place, emit))
        except DrkitError as error:
            emit(Note("error", name, error.message))
            failed[name] = error.message
    return Restored(trees, weights, failed, tuple(proofs))


def _fetch_weights(
    mirrored: WeightsPart, place: Path, stores: Sequence[Store], clock: Clock, emit: Emit
) -> tuple[Manifest, int]:
    """What should lie in `place` now, from the stores' mirrors, and the bytes that came."""
    manifest, holders = _manifest_of(mirrored, stores, place.name, emit)
    ticket = mint_ticket(holders, manifest, expires_s=_TICKET_S, clock=clock)
    fetched = fetch_ticket(ticket, place, clock=clock, emit=emit, wires=wires_of(holders))
    return manifest, fetched.bytes


def _manifest_of(
    mirrored: WeightsPart, stores: Sequence[Store], source: str, emit: Emit
) -> tuple[Manifest, tuple[Store, ...]]:
    """The manifest that the point knows; where no store has it any more, the one that they have."""
    model, revision = mirrored.model, mirrored.revision
    try:
        return find_manifest(stores, model, revision, digest=mirrored.manifest_digest)
    except NoMirror:
        found = find_manifest(stores, model, revision)
    text = (
        "no store holds the list of files that the point was made with: its mirror has "
        f"{mirrored.files} files there, and {len(found[0].files)} now"
    )
    emit(Note("warning", source, text))
    return found


def _refuse_weights_place(place: Path) -> None:
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise GuardRefused(
            f"{place} is not empty", hint="name an empty folder; nothing was written"
        )
