"""The collections of a Qdrant server: each shard as the one snapshot file that the server streams.

In the cut: `<collection>/shard-<id>.snapshot`, which `curl` can upload again, and beside it
`<collection>/collection.json` with what a snapshot does not hold (`Made` below).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from drkit.clock import Clock
from drkit.errors import DamagedData, PlaceError
from drkit.events import Emit, Note, Progress
from drkit.sources.interface import Cut, SourceUnreadable
from drkit.sources.qdrant_rest import Json, QdrantRest, aliases_of
from drkit.sources.qdrant_snapshot import COLLECTION, CannotOpen, Opened, open_shards

_TRIES = 3


@dataclass(frozen=True, slots=True)
class Picture:
    """What must be the same before and after the snapshots of a collection were taken (Q2)."""

    config: Json
    payload_schema: Json
    aliases: tuple[str, ...]
    shards: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Made:
    """One collection in the cut."""

    picture: Picture
    files: tuple[Json, ...]
    live_points: tuple[int, int]
    opened: Opened | None

    def facts(self) -> Json:
        """What verify compares with. `points` is None when the snapshot was not opened."""
        return {
            "points": self.opened.points if self.opened else None,
            "live_points": list(self.live_points),
            "ids_sha256": self.opened.ids_sha256 if self.opened else None,
            "aliases": list(self.picture.aliases),
            "queries": [each.fact() for each in self.opened.queries] if self.opened else [],
            "opened": self.opened is not None,
        }


class QdrantServer:
    """All collections, or those that are named. Satisfies `Source`."""

    kind = "qdrant"

    def __init__(
        self, name: str, rest: QdrantRest, *, collections: tuple[str, ...] | None, clock: Clock
    ) -> None:
        self._name = name
        self._rest = rest
        self._only = collections
        self._clock = clock

    @property
    def name(self) -> str:
        return self._name

    def cut(self, spool: Path, emit: Emit) -> Cut:
        """Every collection as of the call or later; what was changed meanwhile is cut again."""
        cut_at = self._clock.now()
        root = spool / "collections"
        root.mkdir()
        try:
            version = self._rest.version()
            made = self._settled(root, spool / "opened", emit)
        except SourceUnreadable:
            raise
        except (PlaceError, DamagedData) as error:
            raise SourceUnreadable(f"{self._name}: {error.message}", hint=error.hint) from error
        for collection, each in made.items():
            _describe(root / collection, collection, version, cut_at, each)
        facts = {
            "server_version": version,
            "collections": {collection: each.facts() for collection, each in made.items()},
        }
        return Cut(root, cut_at, facts=facts, staged=True)

    def _settled(self, root: Path, scratch: Path, emit: Emit) -> dict[str, Made]:
        """Cuts until one look afterwards shows every collection as it was before its snapshots."""
        made: dict[str, Made] = {}
        pictures = self._pictures()
        pending = set(pictures)
        for _ in range(_TRIES):
            for collection in sorted(pending):
                shutil.rmtree(root / collection, ignore_errors=True)
                made[collection] = self._take(
                    collection, pictures[collection], root / collection, scratch, emit
                )
            pictures = self._pictures()
            for vanished in set(made) - set(pictures):
                shutil.rmtree(root / vanished)
                del made[vanished]
            pending = {
                collection
                for collection, picture in pictures.items()
                if collection not in made or made[collection].picture != picture
            }
            if not pending:
                return made
            changed = ", ".join(sorted(pending))
            emit(Note("info", self._name, f"{changed} changed during the cut and is cut again"))
        raise SourceUnreadable(
            f"{self._name}: {changed} changed during each of {_TRIES} cuts",
            hint="its former state stays in the point; back up when aliases and shards are at rest",
        )

    def _pictures(self) -> dict[str, Picture]:
        aliases = self._rest.aliases()
        there = self._rest.collections()
        if missing := sorted(set(self._only or ()) - set(there)):
            raise SourceUnreadable(
                f"{self._name}: there is no collection {', '.join(missing)} at {self._rest.url}",
                hint=f"correct sources.{self._name}.collections; an alias is not enough",
            )
        wanted = there if self._only is None else list(self._only)
        return {each: self._picture(each, aliases) for each in wanted}

    def _picture(self, collection: str, aliases: Mapping[str, str]) -> Picture:
        if not _is_file_name(collection):
            raise SourceUnreadable(
                f"{self._name}: a collection is called {collection!r}, which names no folder",
                hint="name the collections that are to be kept in `collections`",
            )
        info = self._rest.info(collection)
        here, in_all = self._rest.shards(collection)
        whole = sorted(shard.id for shard in here if shard.state == "Active")
        if len(whole) < in_all:
            raise SourceUnreadable(
                f"{self._name}: {self._rest.url} holds {len(whole)} of {in_all} active shards of "
                f"{collection}",
                hint="wait until its replicas are active; shards on other peers need their own "
                "source with that peer's URL",
            )
        # Points are counted in there and change with every write; the types do not.
        schema = {
            field: {key: value for key, value in index.items() if key != "points"}
            for field, index in dict(info.get("payload_schema") or {}).items()
        }
        return Picture(info["config"], schema, tuple(aliases_of(aliases, collection)), tuple(whole))

    def _take(
        self, collection: str, picture: Picture, folder: Path, scratch: Path, emit: Emit
    ) -> Made:
        folder.mkdir()
        before = self._rest.count(collection)
        files = []
        for shard in picture.shards:
            path = folder / f"shard-{shard}.snapshot"
            size_bytes, digest = self._rest.download_shard(collection, shard, path)
            files.append({"shard": shard, "file": path.name, "bytes": size_bytes, "sha256": digest})
            emit(Progress(self._name, size_bytes, size_bytes, "bytes", f"{collection}/{path.name}"))
        live = (before, self._rest.count(collection))
        try:
            paths = [folder / str(each["file"]) for each in files]
            opened = open_shards(paths, picture.config["params"], scratch)
        except CannotOpen as error:
            emit(Note("warning", self._name, f"{collection}: {error.message}. {error.hint}"))
            return Made(picture, tuple(files), live, None)
        if not min(live) <= opened.points <= max(live):
            said = f"the snapshot holds {opened.points} points, the server {live[0]} to {live[1]}"
            emit(Note("warning", self._name, f"{collection}: {said}"))
        return Made(picture, tuple(files), live, opened)


def _describe(folder: Path, collection: str, version: str, cut_at: datetime, made: Made) -> None:
    described = {
        "collection": collection,
        "server_version": version,
        "cut_at": cut_at.isoformat(),
        "config": made.picture.config,
        "payload_schema": made.picture.payload_schema,
        "aliases": list(made.picture.aliases),
        "shards": list(made.files),
        "points": made.opened.points if made.opened else None,
        "live_points": list(made.live_points),
    }
    (folder / COLLECTION).write_text(json.dumps(described, indent=1, sort_keys=True))


def _is_file_name(name: str) -> bool:
    return bool(name) and not name.startswith(".") and not _any_in(name, "/\0\n")


def _any_in(text: str, characters: Iterable[str]) -> bool:
    return any(character in text for character in characters)
