"""Does Qdrant still find what it found? One known point, by its id and as its own neighbour.

The point is chosen once, by its id alone, and remembered with its vector. A point that somebody
deleted is replaced by another one, and that round says nothing.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from drkit.clock import Clock
from drkit.compute.interface import Endpoint
from drkit.health.around.readings import Reading, failed, not_measured, passed
from drkit.health.ask import ask
from drkit.health.interface import Memory
from drkit.http_client import NoAnswer
from drkit.io_policy import CANARY

_NEIGHBOURS = 3
_MOST_DIMENSIONS = 65_536
_MOST_COLLECTIONS = 20


@dataclass(frozen=True, slots=True)
class _Point:
    id: int | str
    vector: list[float]
    using: str | None


class QdrantCanary:
    """The canaries of one server; `collections` None: of every collection."""

    def __init__(
        self,
        source: str,
        endpoint: Endpoint,
        *,
        api_key: str | None,
        collections: tuple[str, ...] | None,
        memory: Memory,
        clock: Clock,
    ) -> None:
        self._source = source
        self._endpoint = endpoint
        self._headers = {"api-key": api_key} if api_key else {}
        self._collections = collections
        self._memory = memory
        self._clock = clock

    def read(self) -> Reading:
        """PASSED when every collection gives its canary back both ways; FAILED names those that
        do not; not measured where there was nothing to look for.
        """
        probe = f"qdrant {self._source}"
        try:
            names = self._collections or self._listed()
            found = {name: self._look(name) for name in names[:_MOST_COLLECTIONS]}
        except NoAnswer as error:
            return failed(probe, error.message)
        except _Refused as error:
            return failed(probe, str(error))
        lost = [f"{name}: {why}" for name, why in found.items() if why]
        if lost:
            return failed(probe, "; ".join(lost))
        seen = [name for name, why in found.items() if why is None]
        if not seen:
            return not_measured(probe, "no collection has a point that could be looked for yet")
        return passed(probe, f"{', '.join(seen)}: found by id, and as its own neighbour")

    def _look(self, collection: str) -> str | None:
        """None if it is found, "" if there is nothing to look for now, else what is wrong."""
        digest = hashlib.sha256(collection.encode()).hexdigest()
        name = f"canary/{self._source}/{digest[:32]}"
        point = _remembered(self._memory.recall(name))
        if point is None:
            return self._choose(name, collection, known=False)
        at = f"/collections/{quote(collection, safe='')}/points"
        asked = {"ids": [point.id], "with_payload": False}
        status, result = self._ask("POST", at, asked)
        if status == 404:
            return "the collection is not there"
        if status != 200:
            return f"point {point.id}: {status}"
        if not isinstance(result, list) or not result:
            return self._choose(name, collection, known=True)
        body: dict[str, Any] = {"query": point.vector, "limit": _NEIGHBOURS}
        if point.using:
            body["using"] = point.using
        status, result = self._ask("POST", f"{at}/query", body)
        if status == 400:  # its vectors were made anew, of another size
            return self._choose(name, collection, known=True)
        if status != 200:
            return f"search: {status}"
        near = [each.get("id") for each in _rows(result, "points")]
        if point.id in near:
            return None
        return f"a search for the vector of point {point.id} finds {near or 'nothing'}"

    def _choose(self, name: str, collection: str, *, known: bool) -> str:
        """Remembers a point with a dense vector for the next time. What is wrong, or "".

        `known`: there was one before; a collection that lost its last point is no good sign, and
        keeps its canary until it has points again.
        """
        at = f"/collections/{quote(collection, safe='')}/points/scroll"
        body = {"limit": 1, "with_payload": False, "with_vector": True}
        status, result = self._ask("POST", at, body)
        if status == 404:
            return "the collection is not there"
        if status != 200:
            return f"scroll: {status}"
        rows = _rows(result, "points")
        if not rows:
            return "it has no point any more" if known else ""
        point = _point(rows[0])
        if point is not None:
            kept = {"id": point.id, "vector": point.vector, "using": point.using}
            self._memory.remember(name, kept)
        return ""

    def _listed(self) -> tuple[str, ...]:
        status, result = self._ask("GET", "/collections")
        if status != 200:
            key = ": the api_key is not taken" if status in (401, 403) else ""
            raise _Refused(f"it answers {status}{key}")
        return tuple(str(each.get("name")) for each in _rows(result, "collections"))

    def _ask(
        self, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> tuple[int, Any]:
        reply = ask(
            self._endpoint,
            method,
            path,
            CANARY,
            clock=self._clock,
            body=body,
            headers=self._headers,
        )
        answer = reply.json()
        return reply.status, answer.get("result") if isinstance(answer, dict) else None


class _Refused(Exception):
    """The server does not take the question."""


def _rows(result: Any, key: str) -> list[dict[str, Any]]:
    rows = result.get(key) if isinstance(result, dict) else None
    return [each for each in rows if isinstance(each, dict)] if isinstance(rows, list) else []


def _point(row: Mapping[str, Any]) -> _Point | None:
    vector = row.get("vector")
    named = vector if isinstance(vector, dict) else {None: vector}
    for using, values in named.items():
        point = _remembered({"id": row.get("id"), "vector": values, "using": using})
        if point is not None:
            return point
    return None


def _remembered(value: Any) -> _Point | None:
    if not isinstance(value, dict):
        return None
    point, vector, using = value.get("id"), value.get("vector"), value.get("using")
    if not isinstance(point, int | str) or not isinstance(vector, list):
        return None
    if not 0 < len(vector) <= _MOST_DIMENSIONS:
        return None
    if not all(isinstance(each, int | float) and math.isfinite(each) for each in vector):
        return None
    return _Point(point, [float(each) for each in vector], None if using is None else str(using))
