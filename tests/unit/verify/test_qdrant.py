"""What proves a collection, and what is said when nothing exact was recorded of it."""

from typing import Any

import pytest

from drkit.verify import qdrant
from drkit.verify.proof import Proof

QUERY = {"vector": [1.0, 0.0], "using": None, "limit": 2, "ids": [4, 2]}
RECORDED = {
    "points": 2,
    "live_points": [2, 3],
    "ids_sha256": "aa",
    "aliases": ["memories"],
    "queries": [QUERY],
    "opened": True,
}


class Server:
    """A Qdrant as verify sees it; each test says what it holds."""

    points = 2
    found = (4, 2)
    all_aliases = {"memories": "m", "other": "n"}
    ids = "aa"

    def __init__(self, url: str, api_key: str | None) -> None:
        self.url = url

    def count(self, name: str) -> int:
        return self.points

    def aliases(self) -> dict[str, str]:
        return self.all_aliases

    def query(self, name: str, vector: Any, *, using: str | None, limit: int) -> list[int]:
        return list(self.found)

    def ids_sha256(self, name: str) -> str:
        return self.ids


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> type[Server]:
    fresh = type("Server", (Server,), {})
    monkeypatch.setattr(qdrant, "QdrantRest", fresh)
    return fresh


def proofs_of(**changes: Any) -> dict[str, Proof]:
    facts = {"collections": {"m": RECORDED | changes}}
    return {each.check: each for each in qdrant.verify_qdrant(facts, "http://there", None)}


def test_count_aliases_and_recorded_queries_prove_a_collection(server) -> None:
    proofs = proofs_of()
    assert list(proofs) == ["qdrant count", "qdrant aliases", "qdrant queries"]
    assert all(each.passed for each in proofs.values())


@pytest.mark.parametrize(
    ("held", "failed"),
    [
        ({"points": 3}, "qdrant count"),
        ({"all_aliases": {"memories": "n"}}, "qdrant aliases"),
        ({"found": (2, 4)}, "qdrant queries"),
    ],
)
def test_each_of_them_fails_alone(server, held, failed) -> None:
    for name, value in held.items():
        setattr(server, name, value)
    assert [check for check, proof in proofs_of().items() if not proof.passed] == [failed]


def test_an_empty_collection_is_proved_by_its_count_and_aliases(server) -> None:
    server.points = 0
    proofs = proofs_of(points=0, queries=[])
    assert list(proofs) == ["qdrant count", "qdrant aliases"]
    assert all(each.passed for each in proofs.values())
    server.points = 1
    assert not proofs_of(points=0, queries=[])["qdrant count"].passed


def test_points_that_no_query_can_ask_for_are_proved_by_their_ids(server) -> None:
    assert proofs_of(queries=[])["qdrant ids"].passed
    server.ids = "bb"
    assert not proofs_of(queries=[])["qdrant ids"].passed


def test_Q1_without_exact_expectations_nothing_is_proved_and_it_is_said_why(server) -> None:
    proofs = proofs_of(points=None, ids_sha256=None, queries=[], opened=False)
    assert list(proofs) == ["qdrant count", "qdrant aliases"]
    said = proofs["qdrant count"]
    assert not said.passed
    assert "no exact expectations were recorded; install drkit[qdrant]" in said.detail
    assert "back up again" in said.detail


def test_facts_that_lack_something_are_a_proof_that_failed(server) -> None:
    facts: dict[str, Any] = {"collections": {"m": {"points": 1}}}
    (proof,) = qdrant.verify_qdrant(facts, "http://there", None)
    assert (proof.passed, "cannot be asked" in proof.detail) == (False, True)
