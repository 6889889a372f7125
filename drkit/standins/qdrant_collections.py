"""Collections on disk: one engine shard each, their settings, and the aliases.

DIR/collections/<name>/{collection.json,shard/}     DIR/aliases.json     DIR/incoming/
"""

from __future__ import annotations

import json
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from drkit.standins import qdrant_engine as engine
from drkit.standins.qdrant_engine import Json, WrongInput
from drkit.stores.durable import write_file

NAME = re.compile(r"[^/\\<>:\"|?*\0\x1f]{1,255}")
PEER_ID = 1
DEFAULTS: dict[str, Json] = {
    "hnsw_config": {
        "m": 16,
        "ef_construct": 100,
        "full_scan_threshold": 10000,
        "max_indexing_threads": 0,
        "on_disk": False,
    },
    "optimizer_config": {
        "deleted_threshold": 0.2,
        "vacuum_min_vector_number": 1000,
        "default_segment_number": 0,
        "max_segment_size": None,
        "memmap_threshold": None,
        "indexing_threshold": 10000,
        "flush_interval_sec": 5,
        "max_optimization_threads": None,
    },
    "wal_config": {"wal_capacity_mb": 32, "wal_segments_ahead": 0, "wal_retain_closed": 1},
}


class Missing(Exception):
    """There is no such collection, shard or point."""


class Exists(Exception):
    """A collection of that name is already there."""


class Collection:
    """One collection. Every use of its shard happens under its lock."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self._folder = folder
        self._lock = threading.RLock()
        self._config: Json = json.loads((folder / "collection.json").read_text())
        replaced = folder / "replaced"
        if replaced.exists() and not self._shard_path.exists():
            replaced.rename(self._shard_path)  # killed between the two renames of replace_shard
        shutil.rmtree(replaced, ignore_errors=True)
        self._shard = engine.open_shard(self._shard_path, self._config["params"])

    @property
    def _shard_path(self) -> Path:
        return self._folder / "shard"

    @contextmanager
    def reading(self) -> Iterator[Any]:
        with self._lock:
            yield self._shard

    @contextmanager
    def writing(self) -> Iterator[Any]:
        """As `reading`; what was done is on disk afterwards."""
        with self._lock:
            yield self._shard
            self._shard.flush()

    def info(self) -> Json:
        with self._lock:
            info = self._shard.info()
            return {
                "status": "green",
                "optimizer_status": "ok",
                "indexed_vectors_count": info.indexed_vectors_count,
                "points_count": info.points_count,
                "segments_count": info.segments_count,
                "config": self._config,
                "payload_schema": engine.payload_schema(self._shard),
            }

    def cluster(self) -> Json:
        with self._lock:
            points = self._shard.info().points_count
        return {
            "peer_id": PEER_ID,
            "shard_count": 1,
            "local_shards": [{"shard_id": 0, "points_count": points, "state": "Active"}],
            "remote_shards": [],
            "shard_transfers": [],
        }

    def pack(self, target: Path) -> None:
        with self.writing():
            engine.pack_shard(self._shard_path, target)

    def replace_shard(self, snapshot: Path, scratch: Path) -> None:
        """Puts the snapshot's shard in place of this one. A snapshot that does not fit changes
        nothing (`WrongInput`).
        """
        engine.unpack_shard(snapshot, scratch, self._config["params"])
        old = self._folder / "replaced"
        with self._lock:
            self._shard.close()
            self._shard_path.rename(old)
            scratch.rename(self._shard_path)
            self._shard = engine.open_shard(self._shard_path, self._config["params"])
        shutil.rmtree(old)

    def close(self) -> None:
        with self._lock:
            self._shard.close()


class Collections:
    """All collections and aliases below one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.RLock()
        self.incoming = folder / "incoming"
        shutil.rmtree(self.incoming, ignore_errors=True)
        self.incoming.mkdir(parents=True)
        (folder / "collections").mkdir(exist_ok=True)
        self._aliases_path = folder / "aliases.json"
        self._aliases: dict[str, str] = {}
        if self._aliases_path.exists():
            self._aliases = json.loads(self._aliases_path.read_text())
        self._open: dict[str, Collection] = {}
        for found in sorted((folder / "collections").iterdir()):
            # one without its settings was being created or deleted when this server was killed
            if (found / "collection.json").exists():
                self._open[found.name] = Collection(found.name, found)
            else:
                shutil.rmtree(found)

    def names(self) -> list[str]:
        return sorted(self._open)

    def get(self, name: str) -> Collection:
        """The collection of that name or alias."""
        with self._lock:
            found = self._open.get(self._aliases.get(name, name))
        if found is None:
            raise Missing(f"Not found: Collection `{name}` doesn't exist!")
        return found

    def create(self, name: str, body: Json) -> None:
        if not NAME.fullmatch(name) or name in (".", ".."):
            raise WrongInput(f"{name!r} cannot name a collection")
        if (body.get("shard_number") or 1) != 1:
            raise WrongInput("this stand-in has one shard per collection")
        with self._lock:
            if name in self._open or name in self._aliases:
                raise Exists(f"Wrong input: Collection `{name}` already exists!")
            params = {
                "shard_number": 1,
                "replication_factor": 1,
                "write_consistency_factor": 1,
                "on_disk_payload": body.get("on_disk_payload", True),
            }
            for key in ("vectors", "sparse_vectors"):
                if body.get(key):
                    params[key] = body[key]
            config: Json = {"params": params, "quantization_config": None}
            for key, default in DEFAULTS.items():
                sent = body.get("optimizers_config" if key == "optimizer_config" else key) or {}
                config[key] = default | {k: v for k, v in sent.items() if v is not None}
            if body.get("metadata"):
                config["metadata"] = body["metadata"]
            folder = self._folder / "collections" / name
            engine.open_shard(folder / "shard", params).close()
            write_file(folder / "collection.json", json.dumps(config, indent=1).encode())
            self._open[name] = Collection(name, folder)

    def delete(self, name: str) -> bool:
        """False: there was none. Its aliases go with it."""
        with self._lock:
            found = self._open.pop(name, None)
            if found is None:
                return False
            self._set_aliases({a: c for a, c in self._aliases.items() if c != name})
            found.close()
            folder = self._folder / "collections" / name
            (folder / "collection.json").unlink()
            shutil.rmtree(folder)
            return True

    def aliases(self, collection: str | None = None) -> list[Json]:
        with self._lock:
            return [
                {"alias_name": alias, "collection_name": name}
                for alias, name in sorted(self._aliases.items())
                if collection is None or name == self.get(collection).name
            ]

    def change_aliases(self, actions: list[Json]) -> None:
        """All actions, or none of them."""
        with self._lock:
            after = dict(self._aliases)
            for action in actions:
                ((kind, what),) = action.items()
                if kind == "create_alias":
                    if what["collection_name"] not in self._open:
                        raise Missing(f"Collection `{what['collection_name']}` doesn't exist!")
                    if what["alias_name"] in self._open:
                        raise WrongInput(f"`{what['alias_name']}` is a collection")
                    after[what["alias_name"]] = what["collection_name"]
                elif kind in ("delete_alias", "rename_alias"):
                    old = what["old_alias_name" if kind == "rename_alias" else "alias_name"]
                    if old not in after:
                        raise Missing(f"Alias {old} does not exist!")
                    target = after.pop(old)
                    if kind == "rename_alias":
                        after[what["new_alias_name"]] = target
                else:
                    raise WrongInput(f"unknown alias action {kind!r}")
            self._set_aliases(after)

    def _set_aliases(self, aliases: dict[str, str]) -> None:
        write_file(self._aliases_path, json.dumps(aliases, indent=1).encode())
        self._aliases = aliases
