"""The Qdrant stand-in: a collection, its snapshot, and the same answers from another server.

With DRKIT_SPECS naming a folder that holds qdrant-openapi.json, every answer's shape is checked
against the published description too.
"""

from __future__ import annotations

import hashlib
import random
import signal
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

pytest.importorskip("qdrant_edge", reason="the engine comes with drkit[qdrant]")

Server = Any  # what the fixture `start` gives: .url, .port, .stop()
Start = Any
Call = Callable[..., Any]
SIZE, POINTS = 16, 300
UUID = "5c56c793-69f3-4fbf-87e6-c4bf54c28c26"


@pytest.fixture
def call(published: Any) -> Call:
    """(server, method, path, body) -> result; every answer is held against the description."""

    def send(server: Server, method: str, path: str, body: Any = None, *, status: int = 200) -> Any:
        answer = httpx.request(method, server.url + path, json=body, timeout=30)
        assert answer.status_code == status, answer.text
        if published:
            assert published.answer_problem(method, path, status, answer.json()) is None
        return answer.json().get("result")

    return send


@pytest.fixture
def server(start: Start, tmp_path: Path) -> Server:
    return start("qdrant", "--data", tmp_path / "qdrant")


def vectors(count: int = POINTS) -> list[list[float]]:
    draw = random.Random(7)
    return [[draw.gauss(0, 1) for _ in range(SIZE)] for _ in range(count)]


def fill(call: Call, server: Server, name: str = "memories") -> None:
    settings = {"vectors": {"size": SIZE, "distance": "Cosine"}, "hnsw_config": {"m": 24}}
    assert call(server, "PUT", f"/collections/{name}", settings) is True
    points = [
        {"id": number, "vector": vector, "payload": {"path": f"n/{number}.md", "part": number % 3}}
        for number, vector in enumerate(vectors())
    ]
    points.append({"id": UUID, "vector": [1.0] * SIZE})
    call(server, "PUT", f"/collections/{name}/points?wait=true", {"points": points})


def answers(call: Call, server: Server, name: str = "memories") -> list[Any]:
    """What a client can see of a collection."""
    at = f"/collections/{name}/points"
    scrolled = call(server, "POST", f"{at}/scroll", {"limit": 1000, "with_vector": True})
    nearest = [
        call(server, "POST", f"{at}/query", {"query": v, "limit": 5, "params": {"exact": True}})
        for v in vectors(3)
    ]
    ids = [[point["id"] for point in found["points"]] for found in nearest]
    return [call(server, "POST", f"{at}/count", {"exact": True}), scrolled["points"], ids]


def download(server: Server, into: Path, name: str = "memories") -> Path:
    with httpx.stream("GET", f"{server.url}/collections/{name}/shards/0/snapshot") as answer:
        assert answer.status_code == 200
        with into.open("wb") as file:
            for part in answer.iter_bytes():
                file.write(part)
    return into


def upload(
    server: Server, snapshot: Path | bytes, query: str = "priority=snapshot"
) -> httpx.Response:
    content = snapshot if isinstance(snapshot, bytes) else snapshot.read_bytes()
    url = f"{server.url}/collections/memories/shards/0/snapshots/upload?{query}"
    return httpx.post(url, files={"snapshot": ("memories.snapshot", content)}, timeout=60)


def test_points_are_counted_scrolled_queried_and_retrieved(call: Call, server: Server) -> None:
    fill(call, server)
    count, points, nearest = answers(call, server)
    assert count == {"count": POINTS + 1}
    assert len(points) == POINTS + 1
    assert points[5]["payload"] == {"path": "n/5.md", "part": 2}
    assert [ids[0] for ids in nearest] == [0, 1, 2]
    at = "/collections/memories/points"
    page = call(server, "POST", f"{at}/scroll", {"limit": 10, "with_payload": False})
    assert page["next_page_offset"] == 10
    assert call(server, "POST", at, {"ids": [UUID]}) == [{"id": UUID, "payload": {}}]
    third = {"filter": {"must": [{"key": "part", "match": {"value": 1}}]}, "exact": True}
    assert call(server, "POST", f"{at}/count", third) == {"count": POINTS // 3}
    call(server, "POST", f"{at}/delete", {"points": [0, UUID]})
    assert call(server, "POST", f"{at}/count", {"exact": True}) == {"count": POINTS - 1}


def test_the_collection_describes_itself(call: Call, server: Server) -> None:
    fill(call, server)
    call(
        server,
        "PUT",
        "/collections/memories/index",
        {"field_name": "path", "field_schema": "keyword"},
    )
    info = call(server, "GET", "/collections/memories")
    assert info["config"]["params"]["vectors"] == {"size": SIZE, "distance": "Cosine"}
    assert info["config"]["hnsw_config"]["m"] == 24
    assert info["points_count"] == POINTS + 1
    assert info["payload_schema"]["path"]["data_type"] == "keyword"
    shards = call(server, "GET", "/collections/memories/cluster")["local_shards"]
    assert shards == [{"shard_id": 0, "points_count": POINTS + 1, "state": "Active"}]
    assert call(server, "GET", "/collections") == {"collections": [{"name": "memories"}]}
    assert call(server, "GET", "/collections/nothing/exists") == {"exists": False}
    assert call(server, "GET", "/cluster") == {"status": "disabled"}
    assert httpx.get(server.url).json()["version"]


def test_aliases_lead_to_their_collection_and_change_all_or_none(
    call: Call, server: Server
) -> None:
    fill(call, server)
    made = {"create_alias": {"collection_name": "memories", "alias_name": "current"}}
    assert call(server, "POST", "/collections/aliases", {"actions": [made]}) is True
    assert answers(call, server, "current") == answers(call, server)
    expected = [{"alias_name": "current", "collection_name": "memories"}]
    assert call(server, "GET", "/aliases") == {"aliases": expected}
    assert call(server, "GET", "/collections/memories/aliases") == {"aliases": expected}
    half = [
        {"delete_alias": {"alias_name": "current"}},
        {"create_alias": {"collection_name": "nothing", "alias_name": "other"}},
    ]
    call(server, "POST", "/collections/aliases", {"actions": half}, status=404)
    assert call(server, "GET", "/aliases") == {"aliases": expected}


def test_a_shard_snapshot_gives_another_server_the_same_answers(
    call: Call, start: Start, server: Server, tmp_path: Path
) -> None:
    fill(call, server)
    snapshot = download(server, tmp_path / "shard.snapshot")
    assert snapshot.stat().st_size < 8 << 20  # holes stay holes
    with tarfile.open(snapshot) as archive:
        names = archive.getnames()
    assert any(name.startswith("segments/") for name in names)
    assert "edge_config.json" not in names

    other = start("qdrant", "--data", tmp_path / "other")
    settings = {"vectors": {"size": SIZE, "distance": "Cosine"}}
    call(other, "PUT", "/collections/memories", settings)
    answer = upload(other, snapshot)
    assert answer.json()["result"] is True, answer.text
    assert answers(call, other) == answers(call, server)
    assert not any((tmp_path / "other" / "incoming").iterdir())
    other.stop(signal.SIGKILL)
    again = start("qdrant", "--data", tmp_path / "other")
    assert answers(call, again) == answers(call, server)


@pytest.mark.parametrize("damage", ["truncated", "garbage", "checksum", "priority", "cut form"])
def test_an_upload_that_is_wrong_changes_nothing(
    call: Call, server: Server, tmp_path: Path, damage: str
) -> None:
    fill(call, server)
    before = answers(call, server)
    snapshot = download(server, tmp_path / "shard.snapshot").read_bytes()
    query = "priority=snapshot"
    if damage == "truncated":
        snapshot = snapshot[: len(snapshot) // 2]
    elif damage == "garbage":
        snapshot = b"no archive at all" * 1000
    elif damage == "checksum":
        query += "&checksum=" + hashlib.sha256(b"other").hexdigest()
    elif damage == "priority":
        query = "priority=whatever"
    if damage == "cut form":
        url = f"{server.url}/collections/memories/shards/0/snapshots/upload"
        head = b'--b\r\ncontent-disposition: form-data; name="snapshot"\r\n\r\n'
        kind = {"content-type": "multipart/form-data; boundary=b"}
        answer = httpx.post(url, content=head + snapshot, headers=kind, timeout=60)
    else:
        answer = upload(server, snapshot, query)
    assert answer.status_code == 400
    assert answers(call, server) == before


def test_a_snapshot_of_other_vectors_is_refused(call: Call, server: Server, tmp_path: Path) -> None:
    fill(call, server, "wide")
    snapshot = download(server, tmp_path / "shard.snapshot", "wide")
    call(server, "PUT", "/collections/memories", {"vectors": {"size": 8, "distance": "Dot"}})
    assert upload(server, snapshot).status_code == 400
    assert call(server, "POST", "/collections/memories/points/count", {}) == {"count": 0}


def test_named_and_sparse_vectors_come_back(call: Call, server: Server) -> None:
    settings = {
        "vectors": {"text": {"size": 4, "distance": "Dot"}},
        "sparse_vectors": {"words": {}},
    }
    call(server, "PUT", "/collections/both", settings)
    vector = {"text": [1.0, 2.0, 3.0, 4.0], "words": {"indices": [3, 9], "values": [0.5, 0.25]}}
    call(server, "PUT", "/collections/both/points", {"points": [{"id": 1, "vector": vector}]})
    found = call(server, "POST", "/collections/both/points", {"ids": [1], "with_vector": True})
    assert found[0]["vector"] == vector
    asked = {"query": [1.0, 0.0, 0.0, 0.0], "using": "text"}
    assert (
        call(server, "POST", "/collections/both/points/query", asked)["points"][0]["score"] == 1.0
    )


def test_a_collection_is_created_once_and_deleted_with_its_aliases(
    call: Call, server: Server
) -> None:
    fill(call, server)
    call(
        server,
        "PUT",
        "/collections/memories",
        {"vectors": {"size": 4, "distance": "Dot"}},
        status=409,
    )
    made = {"create_alias": {"collection_name": "memories", "alias_name": "current"}}
    call(server, "POST", "/collections/aliases", {"actions": [made]})
    assert call(server, "DELETE", "/collections/memories") is True
    assert call(server, "DELETE", "/collections/memories") is False
    assert call(server, "GET", "/aliases") == {"aliases": []}
    call(server, "GET", "/collections/memories", status=404)


@pytest.mark.parametrize("name", ["..", "a%2Fb", "%2E%2E", "a%00b"])
def test_a_hostile_name_makes_no_folder(server: Server, tmp_path: Path, name: str) -> None:
    body = {"vectors": {"size": 4, "distance": "Dot"}}
    answer = httpx.put(f"{server.url}/collections/{name}", json=body)
    assert answer.status_code in (400, 404, 405)
    assert not any((tmp_path / "qdrant" / "collections").iterdir())


def test_everything_but_health_needs_the_key(start: Start, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("secret\n")
    server = start("qdrant", "--data", tmp_path / "locked", "--api-key-file", key)
    assert httpx.get(f"{server.url}/collections").status_code == 401
    assert httpx.get(f"{server.url}/readyz").status_code == 200
    known = httpx.get(f"{server.url}/collections", headers={"api-key": "secret"})
    assert known.status_code == 200


def test_what_was_written_survives_kill_9(
    call: Call, start: Start, server: Server, tmp_path: Path
) -> None:
    fill(call, server)
    before = answers(call, server)
    server.stop(signal.SIGKILL)
    again = start("qdrant", "--data", tmp_path / "qdrant", port=server.port)
    assert answers(call, again) == before
