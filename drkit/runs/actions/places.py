"""Where what was brought to a target lives now, where its home is, and what is done between."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from drkit.config.sources import QdrantSource, TreeSource
from drkit.errors import ConfigError, GuardRefused
from drkit.runs.actions.destination import brought_of
from drkit.runs.actions.interface import Context, StepCall
from drkit.runs.records import JSON

if TYPE_CHECKING:
    from drkit.sources.qdrant_rest import QdrantRest


@dataclass(frozen=True, slots=True)
class TreeMove:
    """A folder: `away` at the target, `home` where it belongs, `beside` where it is restored, and
    `kept` where the former one stays.
    """

    name: str
    away: Path
    home: Path
    beside: Path
    kept: Path


@dataclass(frozen=True, slots=True)
class VectorMove:
    """Collections: at `away_url` now; restored at `home_url` beside the former ones, as `new`."""

    name: str
    away_url: str
    away_key: str | None
    home_url: str
    home_key: str | None
    new: Mapping[str, str]

    def away(self) -> QdrantRest:
        from drkit.sources.qdrant_rest import QdrantRest

        return QdrantRest(self.away_url, self.away_key)

    def home(self) -> QdrantRest:
        from drkit.sources.qdrant_rest import QdrantRest

        return QdrantRest(self.home_url, self.home_key)


Move = TreeMove | VectorMove


def moves_of(call: StepCall, context: Context) -> list[Move]:
    """One for each source that was brought to the target. Raises `ConfigError` for a source that
    has no place to come home to.
    """
    return [_move(call, context, name, place) for name, place in brought_of(call).items()]


def _move(call: StepCall, context: Context, name: str, place: Mapping[str, JSON]) -> Move:
    source = context.config.sources.get(name)
    suffix = call.run_id.rpartition("-")[2]
    match source:
        case TreeSource():
            home = Path(source.path)
            return TreeMove(
                name,
                away=Path(str(place["into"])),
                home=home,
                beside=home.with_name(f"{home.name}.drkit-{suffix}"),
                kept=home.with_name(f"{home.name}.before-{suffix}"),
            )
        case QdrantSource():
            away, at_home = context.restore_qdrant_to(name), context.qdrant_home(name)
            collections = place.get("collections")
            if away is None or at_home is None or not isinstance(collections, list):
                raise ConfigError(
                    f"it is not known where {name} was restored to",
                    hint=f"set sources.{name}.restore_to to the server that has it",
                )
            new = {str(each): f"{each}-{suffix}" for each in collections}
            return VectorMove(name, *away, *at_home, new)
        case _:
            raise ConfigError(
                f"{name} was brought to {context.plan.target} and cannot be brought home by itself",
                hint=f"it lies in {place.get('into')}; bring it home by hand",
            )


def fingerprint(move: Move) -> str:
    """SHA-256 over what can be seen of it at the target without reading everything: paths, sizes,
    times and modes of a folder; ids and counts of collections.
    """
    digest = hashlib.sha256()
    match move:
        case TreeMove():
            for line in _lines(move.away):
                digest.update(line.encode(errors="surrogateescape"))
        case VectorMove():
            rest = move.away()
            for collection in sorted(move.new):
                digest.update(f"{collection} {rest.count(collection)} ".encode())
                digest.update(rest.ids_sha256(collection).encode())
    return digest.hexdigest()


def _lines(root: Path) -> Iterator[str]:
    for folder, folders, files in os.walk(root):
        folders.sort()
        for name in sorted((*folders, *files)):
            path = Path(folder) / name
            seen = path.lstat()
            relative = path.relative_to(root)
            yield f"{relative}\0{seen.st_size}\0{seen.st_mtime_ns}\0{seen.st_mode}\n"


def must_be_whole(move: TreeMove) -> None:
    """Raises `GuardRefused` when the folder at the target is not there: an empty one would come
    home in place of everything.
    """
    if not move.away.is_dir():
        raise GuardRefused(
            f"{move.name} was brought to {move.away}, which is not there",
            hint="find what was written there before anything is brought home",
        )
