"""Qdrant: each shard's snapshot as the one file it is, and beside it what a snapshot lacks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from drkit.clock import Clock
from drkit.errors import PlaceError
from drkit.events import Emit, Note
from drkit.sources.interface import Cut, SourceUnreadable
from drkit.sources.qdrant_rest import QdrantRest
from drkit.sources.qdrant_snapshot import open_snapshot

_TRIES = 3


class QdrantSource:
    """`<collection>/shard-<id>.snapshot` and `<collection>/collection.json` for each collection."""

    kind = "qdrant"

    def __init__(
        self, name: str, rest: QdrantRest, collections: tuple[str, ...] | None, clock: Clock
    ) -> None:
        self.name = name
        self._rest = rest
        self._collections = collections
        self._clock = clock

    def cut(self, spool: Path, emit: Emit) -> Cut:
        cut_at = self._clock.now()
        root = spool / "cut"
        root.mkdir()
        try:
            version = self._rest.version()
            names = list(self._collections or self._rest.collections())
            facts = {name: self._cut_stable(name, root, spool, version, emit) for name in names}
        except PlaceError as error:
            raise SourceUnreadable(f"{self.name}: {error.message}", hint=error.hint) from None
        return Cut(
            root, cut_at, facts={"server_version": version, "collections": facts}, staged=True
        )

    def _cut_stable(
        self, name: str, root: Path, spool: Path, version: str, emit: Emit
    ) -> dict[str, Any]:
        """One collection whose aliases and shards were the same before and after (Q2)."""
        for _ in range(_TRIES):
            before = self._around(name)
            shards = [int(shard) for shard in before["shards"]]
            folder = root / name
            folder.mkdir(exist_ok=True)
            for stale in folder.iterdir():
                stale.unlink()
            least = self._rest.count(name)
            facts: dict[str, Any] = {"points": 0, "queries": [], "opened": True}
            for shard in shards:
                file = folder / f"shard-{shard}.snapshot"
                self._rest.download_shard(name, shard, file)
                opened = open_snapshot(file, spool / "opened", f"{self.name}/{name}")
                if opened is None:
                    facts["opened"] = False
                else:
                    facts["points"] += opened["points"]
                    # a query over one shard of several would find other neighbours than the whole
                    facts["queries"] += opened["queries"] if len(shards) == 1 else []
            most = self._rest.count(name)
            if self._around(name) != before:
                emit(Note("info", f"{self.name}/{name}", "changed while it was cut; cut again"))
                continue
            if not facts["opened"]:
                facts["points"] = least if least == most else None
            description = {**before, "server_version": version, "live_points": [least, most]}
            (folder / "collection.json").write_text(json.dumps(description, indent=1))
            return {**facts, "aliases": before["aliases"], "live_points": [least, most]}
        raise SourceUnreadable(
            f"{self.name}/{name} changed {_TRIES} times while it was cut",
            hint="run the backup when its aliases and shards are not being moved",
        )

    def _around(self, name: str) -> dict[str, Any]:
        info = self._rest.ask("GET", f"/collections/{name}")
        return {
            "config": info["config"],
            "aliases": self._rest.aliases(name),
            "shards": self._rest.shards(name),
        }
