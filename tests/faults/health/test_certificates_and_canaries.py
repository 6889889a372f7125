"""Certificates and Qdrant's canary on servers that are wrong, silent or talk nonsense."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from answering import FAILED, NOT_MEASURED, NOW, PASSED, answering, at, says
from certificates import certificate
from raw_server import Talk

from drkit.clock import SystemClock
from drkit.health.around import tls
from drkit.health.around.canary import QdrantCanary
from drkit.health.around.tls import read_tls, split_place
from drkit.health.interface import ProbeResult
from drkit.health.measures.window import Value
from drkit.health.witness.file_memory import FileMemory


@contextmanager
def secure(folder: Path, *, host: str = "127.0.0.1") -> Iterator[tuple[str, str]]:
    key, file = certificate(folder, host=host)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file, key)
    with answering(says(200), tls=context) as server:
        yield f"127.0.0.1:{server.port}", str(file)


def test_a_right_certificate_tells_its_days(tmp_path: Path) -> None:
    with secure(tmp_path) as (place, trust):
        reading = read_tls(place, NOW - timedelta(days=20), trust=trust)
    assert reading.result.verdict is PASSED
    days = reading.measures["tls_days"]
    assert isinstance(days, Value)
    assert 19.9 < days.value < 20.1


@pytest.mark.parametrize("wrong", ["name", "issuer"])
def test_a_certificate_that_no_client_would_trust_has_failed(tmp_path: Path, wrong: str) -> None:
    host = "127.0.0.2" if wrong == "name" else "127.0.0.1"
    with secure(tmp_path, host=host) as (place, trust):
        reading = read_tls(place, NOW, trust=trust if wrong == "name" else None)
    assert reading.result.verdict is FAILED
    assert "no client would trust it" in reading.result.detail
    assert reading.measures == {}


def test_no_tls_there_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls, "_TIMEOUT_S", 0.3)
    assert read_tls("127.0.0.1:1", NOW).result.verdict is FAILED
    with answering(says(200)) as server:
        assert read_tls(f"127.0.0.1:{server.port}", NOW).result.verdict is FAILED


def test_names_and_ports() -> None:
    assert split_place("llm.example.org") == ("llm.example.org", 443)
    assert split_place("llm.example.org:8443") == ("llm.example.org", 8443)
    assert split_place("[::1]:8443") == ("::1", 8443)
    assert split_place("[::1]") == ("::1", 443)


class Qdrant:
    """The routes that a canary asks, over points that can be lost."""

    def __init__(self) -> None:
        self.points: dict[int, list[float]] = {1: [1.0, 0.0], 2: [0.0, 1.0]}
        self.there = True
        self.finds: list[int] | None = None
        self.status = 200

    def __call__(self, talk: Talk) -> None:
        body = json.loads(talk.read_body() or b"{}")
        path = talk.target
        if self.status != 200:
            talk.answer(self.status, b"{}")
        elif path == "/collections":
            names = [{"name": "notes"}] if self.there else []
            self._give(talk, {"collections": names})
        elif not self.there:
            talk.answer(404, b'{"status": {"error": "Not found"}}')
        elif path.endswith("/scroll"):
            rows = [{"id": id, "vector": v} for id, v in sorted(self.points.items())]
            self._give(talk, {"points": rows[: body["limit"]], "next_page_offset": None})
        elif path.endswith("/query"):
            found = list(self.points) if self.finds is None else self.finds
            self._give(talk, {"points": [{"id": id, "score": 1.0} for id in found]})
        else:
            found = [{"id": id} for id in body["ids"] if id in self.points]
            self._give(talk, found)

    def _give(self, talk: Talk, result: Any) -> None:
        talk.answer(200, json.dumps({"result": result, "status": "ok"}).encode())


@pytest.fixture
def qdrant() -> Qdrant:
    return Qdrant()


@pytest.fixture
def look(qdrant: Qdrant, tmp_path: Path) -> Iterator[Callable[..., ProbeResult]]:
    with answering(qdrant) as server:

        def once(collections: tuple[str, ...] | None = None) -> ProbeResult:
            return (
                QdrantCanary(
                    "vectors",
                    at(server),
                    api_key="key",
                    collections=collections,
                    memory=FileMemory(tmp_path),
                    clock=SystemClock(),
                )
                .read()
                .result
            )

        yield once


def test_the_canary_is_chosen_and_then_found_both_ways(look) -> None:
    assert look().verdict is NOT_MEASURED
    assert look().verdict is PASSED


def test_a_search_that_does_not_find_it_has_failed(look, qdrant: Qdrant) -> None:
    look()
    qdrant.finds = [2]
    assert look().verdict is FAILED
    assert "point 1" in look().detail
    qdrant.finds = []
    assert look().verdict is FAILED


def test_a_point_that_somebody_deleted_is_replaced(look, qdrant: Qdrant) -> None:
    look()
    del qdrant.points[1]
    assert look().verdict is NOT_MEASURED
    assert look().verdict is PASSED


def test_a_collection_that_lost_all_its_points_has_failed_until_it_has_some(
    look, qdrant: Qdrant
) -> None:
    look()
    kept, qdrant.points = qdrant.points, {}
    assert look().verdict is FAILED
    assert look().verdict is FAILED
    qdrant.points = kept
    assert look().verdict is PASSED


def test_a_collection_that_never_had_a_point_is_not_measured(look, qdrant: Qdrant) -> None:
    qdrant.points = {}
    assert look().verdict is NOT_MEASURED
    assert look().verdict is NOT_MEASURED


def test_a_collection_that_is_gone_has_failed_when_it_is_named(look, qdrant: Qdrant) -> None:
    look(("notes",))
    qdrant.there = False
    assert look(("notes",)).verdict is FAILED


def test_a_server_that_refuses_the_key_has_failed(look, qdrant: Qdrant) -> None:
    qdrant.status = 401
    result = look()
    assert result.verdict is FAILED
    assert "api_key" in result.detail


@pytest.mark.parametrize("answer", ["", "[]", '{"result": 7}', '{"result": {"collections": [7]}}'])
def test_nonsense_from_qdrant_is_no_good_sign(answer: str, tmp_path: Path) -> None:
    with answering(says(200, answer)) as server:
        canary = QdrantCanary(
            "v",
            at(server),
            api_key=None,
            collections=("notes",),
            memory=FileMemory(tmp_path),
            clock=SystemClock(),
        )
        assert canary.read().result.verdict is not PASSED
        assert canary.read().result.verdict is not PASSED
