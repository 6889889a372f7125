"""Qdrant's REST API, as far as backup, restore and verification need it (server 1.16 and later)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from drkit.clock import Clock, SystemClock
from drkit.errors import PlaceError
from drkit.http_client import NoAnswer, answering, open_client
from drkit.io_policy import QDRANT_CALL, QDRANT_SNAPSHOT, Deadline

if TYPE_CHECKING:
    import httpx

Json = dict[str, Any]
PointId = int | str

_PAGE = 1000


class QdrantRefused(PlaceError):
    """The server answered with an error, or with something that is no answer to the question."""

    def __init__(self, message: str, *, hint: str, status: int) -> None:
        super().__init__(message, hint=hint)
        self.status = status


@dataclass(frozen=True, slots=True)
class Shard:
    """A shard on the peer that answered. Only one whose `state` is "Active" is whole."""

    id: int
    state: str
    points: int


class QdrantRest:
    """One server, by URL. Thread-safe. Every method raises `NoAnswer` or `QdrantRefused`."""

    def __init__(self, url: str, api_key: str | None = None, *, clock: Clock | None = None) -> None:
        self.url = url.rstrip("/")
        self._clock = clock or SystemClock()
        self._headers = {"api-key": api_key} if api_key else {}

    def version(self) -> str:
        return str(_part(self._ask("GET", "/", bare=True), "version", str))

    def collections(self) -> list[str]:
        listed = _part(self._ask("GET", "/collections"), "collections", list)
        return sorted(str(_part(each, "name", str)) for each in listed)

    def info(self, collection: str) -> Json:
        """`status`, `config`, `payload_schema`, `points_count` ..."""
        info: Json = self._ask("GET", _at(collection))
        _part(_part(info, "config", dict), "params", dict)
        return info

    def shards(self, collection: str) -> tuple[tuple[Shard, ...], int]:
        """The shards on this peer, and how many the collection has in all."""
        cluster = self._ask("GET", f"{_at(collection)}/cluster")
        here = tuple(
            Shard(
                int(_part(each, "shard_id", int)),
                str(_part(each, "state", str)),
                int(_part(each, "points_count", int)),
            )
            for each in _part(cluster, "local_shards", list)
        )
        return here, int(_part(cluster, "shard_count", int))

    def aliases(self) -> dict[str, str]:
        """Alias to collection, of the whole server."""
        listed = _part(self._ask("GET", "/aliases"), "aliases", list)
        return {
            str(_part(each, "alias_name", str)): str(_part(each, "collection_name", str))
            for each in listed
        }

    def count(self, collection: str) -> int:
        """Exactly."""
        result = self._ask("POST", f"{_at(collection)}/points/count", {"exact": True})
        return int(_part(result, "count", int))

    def query(
        self, collection: str, vector: Sequence[float], *, using: str | None, limit: int
    ) -> list[PointId]:
        """The ids of the nearest points, nearest first, by comparing with every one of them."""
        body: Json = {"query": list(vector), "limit": limit, "params": {"exact": True}}
        if using:
            body["using"] = using
        result = self._ask("POST", f"{_at(collection)}/points/query", body)
        return [_part(each, "id", (int, str)) for each in _part(result, "points", list)]

    def ids_sha256(self, collection: str) -> str:
        """Over the ids in their order, one a line: numbers, then UUIDs. Reads all of them."""
        digest = hashlib.sha256()
        for each in self.ids(collection):
            digest.update(f"{each}\n".encode())
        return digest.hexdigest()

    def ids(self, collection: str) -> Iterator[PointId]:
        """Every point's id, in their order, a page at a time."""
        following: PointId | None = None
        while True:
            body: Json = {"limit": _PAGE, "with_payload": False, "with_vector": False}
            if following is not None:
                body["offset"] = following
            result = self._ask("POST", f"{_at(collection)}/points/scroll", body)
            for each in _part(result, "points", list):
                yield _part(each, "id", (int, str))
            former, following = following, result.get("next_page_offset")
            if following is None or following == former:
                return

    def create(self, collection: str, body: Mapping[str, Any]) -> None:
        self._ask("PUT", _at(collection), body)

    def create_index(self, collection: str, field: str, schema: Any) -> None:
        body = {"field_name": field, "field_schema": schema}
        self._ask("PUT", f"{_at(collection)}/index", body, params={"wait": "true"})

    def delete(self, collection: str) -> None:
        self._ask("DELETE", _at(collection))

    def change_aliases(self, actions: Sequence[Mapping[str, Any]]) -> None:
        """All of them or none."""
        self._ask("POST", "/collections/aliases", {"actions": list(actions)})

    def download_shard(self, collection: str, shard: int, into: Path) -> tuple[int, str]:
        """Streams the shard's snapshot to the file `into`; its size and SHA-256. No copy is left
        on the server. A stream below the least rate is cut off.
        """
        path = f"{_at(collection)}/shards/{shard}/snapshot"
        digest, size_bytes, begun_s = hashlib.sha256(), 0, self._clock.elapsed_s()
        with (
            answering(f"{self.url}{path}"),
            self._client(QDRANT_SNAPSHOT) as http,
            http.stream("GET", path) as answer,
            into.open("wb") as file,
        ):
            if not answer.is_success:
                answer.read()
                raise self._refused("GET", path, answer)
            for piece in answer.iter_raw(1 << 20):
                file.write(piece)
                digest.update(piece)
                size_bytes += len(piece)
                if self._clock.elapsed_s() - begun_s > QDRANT_SNAPSHOT.for_bytes(size_bytes):
                    raise NoAnswer(
                        f"{self.url}{path} sends too slowly",
                        hint="see the server's load and the line to it",
                        sent=True,
                        timed_out=True,
                    )
        return size_bytes, digest.hexdigest()

    def upload_shard(self, collection: str, shard: int, file: Path, sha256: str) -> None:
        """Puts the snapshot in place of the shard's data, and waits for it.

        `NoAnswer` with `sent`: it may be at work on it; poll, and never send it again.
        """
        path = f"{_at(collection)}/shards/{shard}/snapshots/upload"
        params = {"priority": "snapshot", "checksum": sha256, "wait": "true"}
        limit_s = QDRANT_SNAPSHOT.for_bytes(file.stat().st_size)
        deadline = Deadline(QDRANT_SNAPSHOT.connect_s, limit_s)
        with answering(f"{self.url}{path}"), self._client(deadline) as http, file.open("rb") as raw:
            parts = {"snapshot": (file.name, raw, "application/octet-stream")}
            answer = http.post(path, params=params, files=parts)
        if not answer.is_success:
            raise self._refused("POST", path, answer)

    def _ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        params: dict[str, str] | None = None,
        bare: bool = False,
    ) -> Any:
        """The `result` of a JSON answer, or all of it if `bare`."""
        with answering(f"{self.url}{path}"), self._client(QDRANT_CALL) as http:
            answer = http.request(method, path, json=body, params=params)
        if not answer.is_success:
            raise self._refused(method, path, answer)
        try:
            content = answer.json()
        except ValueError:
            content = None
        return content if bare else _part(content, "result", object)

    def _client(self, deadline: Deadline) -> httpx.Client:
        return open_client(self.url, deadline, headers=self._headers)

    def _refused(self, method: str, path: str, answer: httpx.Response) -> QdrantRefused:
        key = " with its api_key" if answer.status_code in (401, 403) else ""
        return QdrantRefused(
            f"Qdrant at {self.url}: {method} {path} answers {answer.status_code}: "
            f"{' '.join(answer.text[:300].split())}",
            hint=f"see that the server takes this request{key}; its log says more",
            status=answer.status_code,
        )


def aliases_of(aliases: Mapping[str, str], collection: str) -> list[str]:
    return sorted(alias for alias, target in aliases.items() if target == collection)


def _at(collection: str) -> str:
    return f"/collections/{quote(collection, safe='')}"


def _part(value: Any, key: str, kind: type | tuple[type, ...]) -> Any:
    """`value[key]`, which must be a `kind`: nothing a server says is taken on trust."""
    found = value.get(key, _ABSENT) if isinstance(value, dict) else _ABSENT
    if found is _ABSENT or not isinstance(found, kind):
        raise QdrantRefused(
            f"this is no answer of a Qdrant: there is no {key!r} in {str(value)[:200]}",
            hint="see that the URL is a Qdrant's, of version 1.16 or later",
            status=200,
        )
    return found


_ABSENT = object()
