"""Qdrant's REST routes that drkit uses; snapshots are streamed, which the official client cannot."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drkit.errors import PlaceError
from drkit.http_client import answering, call_json, open_client
from drkit.io_policy import QDRANT_CALL, QDRANT_SNAPSHOT

_PIECE_BYTES = 1 << 20


@dataclass(frozen=True)
class QdrantRest:
    """One server. Every method raises `PlaceError` for what it does not answer."""

    url: str
    api_key: str | None = None

    def __repr__(self) -> str:
        return f"QdrantRest({self.url})"

    @property
    def headers(self) -> dict[str, str] | None:
        return {"api-key": self.api_key} if self.api_key else None

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """The `result` of one call."""
        answer = call_json(self.url, method, path, QDRANT_CALL, headers=self.headers, body=body)
        try:
            return answer["result"]
        except (KeyError, TypeError):
            raise PlaceError(
                f"{self.url}{path} does not answer as Qdrant does", hint="check its URL"
            ) from None

    def version(self) -> str:
        return str(call_json(self.url, "GET", "/", QDRANT_CALL, headers=self.headers)["version"])

    def collections(self) -> list[str]:
        return sorted(each["name"] for each in self.ask("GET", "/collections")["collections"])

    def aliases(self, collection: str) -> list[str]:
        found = self.ask("GET", f"/collections/{collection}/aliases")["aliases"]
        return sorted(each["alias_name"] for each in found)

    def count(self, collection: str) -> int:
        path = f"/collections/{collection}/points/count"
        return int(self.ask("POST", path, {"exact": True})["count"])

    def shards(self, collection: str) -> list[int]:
        """Ids of the active shards on this peer."""
        cluster = self.ask("GET", f"/collections/{collection}/cluster")
        return sorted(
            int(shard["shard_id"])
            for shard in cluster["local_shards"]
            if shard.get("state", "Active") == "Active"
        )

    def download_shard(self, collection: str, shard: int, into: Path) -> str:
        """Streams the shard's snapshot into a new file; its SHA-256."""
        path = f"/collections/{collection}/shards/{shard}/snapshot"
        digest = hashlib.sha256()
        with (
            open_client(self.url, QDRANT_SNAPSHOT, headers=self.headers) as client,
            answering(f"{self.url}{path}"),
            client.stream("GET", path) as reply,
            into.open("xb") as file,
        ):
            if not reply.is_success:
                raise PlaceError(f"{self.url}{path}: {reply.status_code}", hint="see its log")
            for piece in reply.iter_bytes(_PIECE_BYTES):
                digest.update(piece)
                file.write(piece)
        return digest.hexdigest()

    def upload_shard(self, collection: str, shard: int, snapshot: Path) -> None:
        """Makes the server take the shard from `snapshot`, which wins over what it has (its priority is sent)."""
        path = f"/collections/{collection}/shards/{shard}/snapshots/upload"
        with (
            open_client(self.url, QDRANT_SNAPSHOT, headers=self.headers) as client,
            answering(f"{self.url}{path}"),
            snapshot.open("rb") as file,
        ):
            reply = client.post(
                path,
                params={"priority": "snapshot", "wait": "true"},
                files={"snapshot": (snapshot.name, file)},
            )
            if not reply.is_success:
                raise PlaceError(
                    f"{self.url}{path}: {reply.status_code} {reply.text[:200]}",
                    hint="restore into the same Qdrant minor version as the backup's",
                )


def read_live(url: str, api_key: str | None) -> dict[str, dict[str, Any]]:
    """Points and aliases of every collection, as they are now."""
    rest = QdrantRest(url, api_key)
    return {
        name: {"points": rest.count(name), "aliases": rest.aliases(name)}
        for name in rest.collections()
    }
