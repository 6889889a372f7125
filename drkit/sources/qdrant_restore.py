"""Collections from a restored point into an empty Qdrant, and out of it again after a drill."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drkit.clock import Clock, SystemClock
from drkit.errors import DamagedData, GuardRefused, NotInThisVersion, PlaceError
from drkit.events import Emit, Note, Progress
from drkit.http_client import NoAnswer
from drkit.io_policy import QDRANT_SNAPSHOT
from drkit.sources.qdrant_rest import Json, QdrantRest
from drkit.sources.qdrant_snapshot import COLLECTION, check_archive

MARK = "drkit"
"""Key in a collection's metadata: drkit made it, for whom. Only such a one is ever dropped."""

_POLL_S = 0.5
_SENT_AS = {"optimizer_config": "optimizers_config"}
_CONFIG = (
    "hnsw_config",
    "optimizer_config",
    "wal_config",
    "quantization_config",
    "strict_mode_config",
)


@dataclass(frozen=True, slots=True)
class Restored:
    """One collection that was restored: what it was called, is called, and now holds."""

    collection: str
    restored_as: str
    points: int
    aliases: tuple[str, ...]
    bytes: int


@dataclass(frozen=True, slots=True)
class RestoreReport:
    collections: tuple[Restored, ...]
    seconds: float


def restore_qdrant(
    folder: Path,
    url: str,
    api_key: str | None,
    *,
    names: Mapping[str, str],
    emit: Emit,
    made_for: str = "restore",
    clock: Clock | None = None,
) -> RestoreReport:
    """Every collection below `folder` (the layout of a cut), with its aliases, at `url`.

    `names`: what a collection or an alias is to be called there, where not its own name. Nothing
    is made before all of this holds: no name is taken (R7), the server is of the same minor
    version and not older, every file has its SHA-256. Raises `GuardRefused`, `DamagedData` naming
    the file, `NoAnswer`, `QdrantRefused`.
    """
    clock = clock or SystemClock()
    begun_s = clock.elapsed_s()
    rest = QdrantRest(url, api_key, clock=clock)
    parts = [(path.parent, _read(path)) for path in sorted(folder.glob(f"*/{COLLECTION}"))]
    for place, part in parts:
        _check_files(place, part)
    _check_version(rest, [part for _, part in parts], emit)
    wanted = [names.get(part["collection"], part["collection"]) for _, part in parts]
    aliases = [names.get(alias, alias) for _, part in parts for alias in part["aliases"]]
    refuse_present(rest, [*wanted, *aliases])
    restored = []
    for (place, part), name in zip(parts, wanted, strict=True):
        restored.append(_restore(rest, place, part, name, names, made_for, emit, clock))
    actions = [
        {"create_alias": {"collection_name": each.restored_as, "alias_name": alias}}
        for each in restored
        for alias in each.aliases
    ]
    if actions:
        rest.change_aliases(actions)
    return RestoreReport(tuple(restored), clock.elapsed_s() - begun_s)


def refuse_present(rest: QdrantRest, names: Collection[str]) -> None:
    """Raises `GuardRefused` when one of `names` is a collection or an alias there already."""
    if taken := sorted(set(names) & {*rest.collections(), *rest.aliases()}):
        raise GuardRefused(
            f"{', '.join(taken)} is there already at {rest.url}; nothing was changed",
            hint="restore to an empty server, or under other names",
        )


def drop_restored(
    url: str, api_key: str | None, *, names: Sequence[str], made_for: str = "restore"
) -> tuple[str, ...]:
    """Deletes those of `names` that are there, with their aliases; what was deleted.

    Raises `GuardRefused`, deleting nothing, if one of them was not made by `restore_qdrant` for
    `made_for` (Q3, R7).
    """
    rest = QdrantRest(url, api_key)
    there = sorted(set(names) & set(rest.collections()))
    for name in there:
        if _made_for(rest.info(name)) != made_for:
            raise GuardRefused(
                f"the collection {name} at {url} was not made by this restore; nothing was deleted",
                hint="see whose it is, and delete it by hand if nobody needs it",
            )
    for name in there:
        rest.delete(name)
    return tuple(there)


def _restore(
    rest: QdrantRest,
    place: Path,
    part: Json,
    name: str,
    names: Mapping[str, str],
    made_for: str,
    emit: Emit,
    clock: Clock,
) -> Restored:
    rest.create(name, create_body(part["config"], made_for))
    size_bytes = 0
    for shard in part["shards"]:
        try:
            rest.upload_shard(name, shard["shard"], place / shard["file"], shard["sha256"])
        except NoAnswer as error:
            if not (error.sent and error.timed_out):
                raise
            emit(Note("info", name, f"shard {shard['shard']}: no answer yet; asking how it is"))
        size_bytes += int(shard["bytes"])
        emit(Progress("qdrant", size_bytes, size_bytes, "bytes", f"{name}/{shard['file']}"))
    points = _wait(rest, name, part, emit, clock)
    for field, index in part["payload_schema"].items():
        if field not in rest.info(name)["payload_schema"]:
            rest.create_index(name, field, index.get("params") or index["data_type"])
    aliases = tuple(names.get(alias, alias) for alias in part["aliases"])
    return Restored(part["collection"], name, points, aliases, size_bytes)


def _wait(rest: QdrantRest, name: str, part: Json, emit: Emit, clock: Clock) -> int:
    """Polls until all shards are active, hold what the snapshots held, and are indexed (Q3).

    A collection that is whole and still indexing at the deadline is good enough: said, not failed.
    """
    size_bytes = sum(int(shard["bytes"]) for shard in part["shards"])
    until_s = clock.elapsed_s() + QDRANT_SNAPSHOT.for_bytes(size_bytes)
    while True:
        shards, _ = rest.shards(name)
        status, points = rest.info(name)["status"], rest.count(name)
        whole = all(shard.state == "Active" for shard in shards) and _as_recorded(points, part)
        if whole and status == "green":
            return points
        if status == "red" or clock.elapsed_s() >= until_s:
            if whole and status != "red":
                emit(Note("warning", name, f"restored, and still {status}: it is being indexed"))
                return points
            raise PlaceError(
                f"{name} at {rest.url} is {status} and holds {points} points, "
                f"{part['points']} in the snapshot",
                hint="see the server's log; it was not sent again",
            )
        clock.sleep(_POLL_S)


def _as_recorded(points: int, part: Json) -> bool:
    if part["points"] is not None:
        return points == int(part["points"])
    low, high = sorted(part["live_points"])
    return int(low) <= points <= int(high)


def create_body(config: Json, made_for: str) -> Json:
    """`PUT /collections/{name}` for a collection whose `GET` showed `config`."""
    if config["params"].get("sharding_method") == "custom":
        raise NotInThisVersion(
            "Qdrant collections with shard keys",
            hint="create the keys by hand and upload the shard-<id>.snapshot files with curl",
        )
    body: Json = {**config["params"]}
    for key in _CONFIG:
        body[_SENT_AS.get(key, key)] = config.get(key)
    for key in ("read_fan_out_factor", "read_fan_out_delay_ms"):
        body.pop(key, None)  # a server shows them, and takes them only as a later update
    body = {key: value for key, value in body.items() if value is not None}
    return {**body, "metadata": {**(config.get("metadata") or {}), MARK: {"made_for": made_for}}}


def _made_for(info: Json) -> str | None:
    mark = (info["config"].get("metadata") or {}).get(MARK)
    return str(mark.get("made_for")) if isinstance(mark, dict) else None


def _read(path: Path) -> Json:
    """A `collection.json` with the fields that the restore uses, or `DamagedData` naming it."""
    try:
        part: Json = json.loads(path.read_bytes())
        fields: tuple[tuple[str, Callable[[Any], Any]], ...] = (
            ("collection", str),
            ("server_version", str),
            ("aliases", list),
            ("payload_schema", dict),
            ("live_points", list),
        )
        for key, kind in fields:
            kind(part[key])
        part["config"]["params"], part["points"]
        for shard in part["shards"]:
            if Path(shard["file"]).name != shard["file"] or not int(shard["shard"]) >= 0:
                raise ValueError(f"{shard['file']!r} is no file beside it")
            str(shard["sha256"]), int(shard["bytes"])
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise DamagedData(
            f"{path} is no description of a collection: {error}", hint="take another point"
        ) from error
    return part


def _check_files(place: Path, part: Json) -> None:
    for shard in part["shards"]:
        path = place / shard["file"]
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise DamagedData(f"{path} cannot be read: {error}", hint="restore it again") from error
        if digest != shard["sha256"]:
            raise DamagedData(
                f"{path} is not the snapshot that was taken: SHA-256 {digest}, "
                f"recorded {shard['sha256']}",
                hint="restore it again, from another store or point",
            )
        check_archive(path)


def _check_version(rest: QdrantRest, parts: Sequence[Json], emit: Emit) -> None:
    """Snapshots are restored into the same minor version, and never into an older patch."""
    there = rest.version()
    for part in parts:
        taken = part["server_version"]
        numbers = [re.match(r"v?(\d+)\.(\d+)\.(\d+)", text) for text in (taken, there)]
        if not (numbers[0] and numbers[1]):
            emit(Note("warning", rest.url, f"versions {taken} and {there} cannot be compared"))
            continue
        old, new = (tuple(map(int, match.groups())) for match in numbers if match)
        if old[:2] != new[:2] or new < old:
            raise GuardRefused(
                f"{part['collection']} was taken from Qdrant {taken} and {rest.url} is {there}",
                hint=f"restore to Qdrant {old[0]}.{old[1]}.x, x at least {old[2]}, and upgrade it",
            )
