"""Did the vectors come back? Exact count, aliases, and the recorded queries of each collection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from drkit.errors import PlaceError
from drkit.http_client import call_json
from drkit.io_policy import QDRANT_CALL
from drkit.verify.proof import Proof


def verify_qdrant(
    facts: Mapping[str, Any],
    url: str,
    api_key: str | None,
    *,
    names: Mapping[str, str] | None = None,
) -> tuple[Proof, ...]:
    """Three proofs for each collection in `facts`, recorded from the opened snapshot (Q1).

    `names`: what a collection is called at `url`, where it is not its own name.
    """
    proofs: list[Proof] = []
    for recorded_name, recorded in facts["collections"].items():
        name = (names or {}).get(recorded_name, recorded_name)
        subject = f"{recorded_name} at {url}"
        try:
            proofs += [
                _count(url, api_key, name, recorded["points"], subject),
                _aliases(url, api_key, name, recorded["aliases"], subject),
                _queries(url, api_key, name, recorded["queries"], subject),
            ]
        except (PlaceError, KeyError, TypeError) as error:
            proofs.append(Proof("qdrant", subject, False, f"cannot be asked: {error}"))
    return tuple(proofs)


def _count(url: str, api_key: str | None, name: str, expected: int, subject: str) -> Proof:
    answer = _ask(url, api_key, "POST", f"/collections/{name}/points/count", {"exact": True})
    return Proof(
        "qdrant count",
        subject,
        answer["count"] == expected,
        f"{answer['count']} points, {expected} in the point",
    )


def _aliases(url: str, api_key: str | None, name: str, expected: list[str], subject: str) -> Proof:
    answer = _ask(url, api_key, "GET", f"/collections/{name}/aliases", None)
    found = sorted(alias["alias_name"] for alias in answer["aliases"])
    return Proof(
        "qdrant aliases",
        subject,
        found == sorted(expected),
        f"{', '.join(found) or 'none'}; in the point: {', '.join(sorted(expected)) or 'none'}",
    )


def _queries(
    url: str, api_key: str | None, name: str, queries: list[Mapping[str, Any]], subject: str
) -> Proof:
    wrong = 0
    for query in queries:
        body: dict[str, Any] = {
            "query": query["vector"],
            "limit": query["limit"],
            "params": {"exact": True},
        }
        if query.get("using"):
            body["using"] = query["using"]
        answer = _ask(url, api_key, "POST", f"/collections/{name}/points/query", body)
        wrong += [point["id"] for point in answer["points"]] != list(query["ids"])
    return Proof(
        "qdrant queries",
        subject,
        wrong == 0 and bool(queries),
        f"{len(queries) - wrong} of {len(queries)} recorded queries find the same points",
    )


def _ask(url: str, api_key: str | None, method: str, path: str, body: object) -> Any:
    headers = {"api-key": api_key} if api_key else None
    return call_json(url, method, path, QDRANT_CALL, headers=headers, body=body)["result"]
