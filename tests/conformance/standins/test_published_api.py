"""Every request that drkit sends to a Qdrant fits Qdrant's published API description.

The description is read from the folder that DRKIT_SPECS names (qdrant-openapi.json). The stand-in
answers here; that its own answers fit is seen in the same pass.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from drkit import http_client
from drkit.clock import SystemClock
from drkit.events import discard
from drkit.health import ask
from drkit.health.around.canary import QdrantCanary
from drkit.health.interface import Verdict
from drkit.health.witness.file_memory import FileMemory
from drkit.sources import qdrant_rest
from drkit.sources.qdrant import QdrantServer
from drkit.sources.qdrant_rest import QdrantRest
from drkit.sources.qdrant_restore import drop_restored, restore_qdrant
from drkit.standins.stack import fill_qdrant
from drkit.verify.qdrant import verify_qdrant
from drkit.wiring import parse_endpoint

pytest.importorskip("qdrant_edge", reason="the engine comes with drkit[qdrant]")


class Heard:
    """Every request and its answer, as they went over the line."""

    def __init__(self, published: Any) -> None:
        self.published = published
        self.operations: set[tuple[str, str]] = set()
        self.problems: list[str] = []

    def client(self, open_client: Any) -> Any:
        def opened(*arguments: Any, **settings: Any) -> Any:
            client = open_client(*arguments, **settings)
            client.event_hooks = {"request": [self.request], "response": [self.response]}
            return client

        return opened

    def request(self, request: Any) -> None:
        target = request.url.raw_path.decode()
        kind = request.headers.get("content-type", "").partition(";")[0] or None
        body: Any = None
        if kind == "application/json":
            body = json.loads(request.read())
        elif kind is not None:
            body = {field.name: "" for field in request.stream.fields}
        self.operations.add((request.method, target.split("?")[0]))
        found = self.published.request_problems(request.method, target, kind=kind, body=body)
        self.problems += [f"{request.method} {target}: {problem}" for problem in found]

    def response(self, answer: Any) -> None:
        if answer.headers.get("content-type", "").startswith("application/json"):
            request, answered = answer.request, json.loads(answer.read())
            target = request.url.raw_path.decode()
            problem = self.published.answer_problem(
                request.method, target, answer.status_code, answered
            )
            self.problems += [f"answer to {request.method} {target}: {problem}"] if problem else []


@pytest.fixture
def heard(published: Any, monkeypatch: pytest.MonkeyPatch) -> Heard:
    if published is None:
        pytest.skip("DRKIT_SPECS names no folder with qdrant-openapi.json")
    heard = Heard(published)
    hooked = heard.client(http_client.open_client)
    monkeypatch.setattr(http_client, "open_client", hooked)
    monkeypatch.setattr(qdrant_rest, "open_client", hooked)
    monkeypatch.setattr(ask, "open_client", hooked)
    return heard


def test_every_request_of_a_backup_a_restore_and_a_proof_is_described(
    heard: Heard, start: Any, tmp_path: Path
) -> None:
    here = start("qdrant", "--data", tmp_path / "here")
    there = start("qdrant", "--data", tmp_path / "there")
    fill_qdrant(here.url, seed=1)
    rest = QdrantRest(here.url)
    rest.create_index("memories-v1", "topic", "keyword")
    rest.create("words", {"sparse_vectors": {"words": {}}, "on_disk_payload": True})
    points = [{"id": 1, "vector": {"words": {"indices": [1], "values": [0.5]}}}]
    rest._ask("PUT", "/collections/words/points", {"points": points}, params={"wait": "true"})
    (tmp_path / "spool").mkdir()

    source = QdrantServer("q", rest, collections=None, clock=SystemClock())
    cut = source.cut(tmp_path / "spool", discard)
    restore_qdrant(cut.root, there.url, None, names={}, emit=discard, made_for="run-1")
    proofs = verify_qdrant(cut.facts, there.url, None)
    drop_restored(there.url, None, names=["memories-v1", "absent"], made_for="run-1")

    assert heard.problems == []
    assert all(proof.passed for proof in proofs)
    assert len(heard.operations) > 20
    asked = {path.rpartition("/")[2] for _, path in heard.operations}
    assert asked >= {
        *("", "collections", "memories-v1", "aliases", "cluster", "count", "query", "scroll"),
        *("index", "points", "snapshot", "upload"),
    }


def test_every_request_of_a_canary_is_described(heard: Heard, start: Any, tmp_path: Path) -> None:
    server = start("qdrant", "--data", tmp_path / "here")
    fill_qdrant(server.url, seed=1)
    canary = QdrantCanary(
        "q",
        parse_endpoint(server.url),
        api_key="key",
        collections=None,
        memory=FileMemory(tmp_path / "memory"),
        clock=SystemClock(),
    )
    verdicts = [canary.read().result.verdict for _ in range(2)]
    QdrantRest(server.url)._ask(
        "POST", "/collections/memories-v1/points/delete", {"points": [1]}, params={"wait": "true"}
    )
    verdicts += [canary.read().result.verdict for _ in range(2)]

    assert verdicts == [Verdict.NOT_MEASURED, Verdict.PASSED] * 2
    assert heard.problems == []


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("POST", "/collections/c/points/count", {"exact": "yes"}),
        ("POST", "/collections/c/points/count", {"exat": True}),
        ("POST", "/collections/c/points/query", {"query": [1.0], "limit": 0}),
        ("PUT", "/collections/c", {"vectors": {"size": 4, "distance": "cosine"}}),
        ("PUT", "/collections/c/points?wiat=true", {"points": []}),
        ("PUT", "/collections/c/points?wait=yes", {"points": []}),
        ("POST", "/collections/c/points/count", None),
        ("POST", "/collections/c/pionts", {}),
    ],
)
def test_a_request_that_the_description_does_not_know_is_told(
    heard: Heard, method: str, target: str, body: Any
) -> None:
    kind = None if body is None else "application/json"
    assert heard.published.request_problems(method, target, kind=kind, body=body)
