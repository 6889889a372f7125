"""Did the vectors come back? Exact count, aliases, and the recorded queries of each collection."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from drkit.errors import PlaceError
from drkit.sources.qdrant_rest import QdrantRest, aliases_of
from drkit.verify.proof import Proof

NOT_RECORDED = (
    "no exact expectations were recorded; install drkit[qdrant] where backups are made "
    "and back up again"
)


def verify_qdrant(
    facts: Mapping[str, Any],
    url: str,
    api_key: str | None,
    *,
    names: Mapping[str, str] | None = None,
) -> tuple[Proof, ...]:
    """The proofs of every collection in `facts`, recorded from the opened snapshot (Q1).

    An empty collection is proved by its count of 0 and its aliases; one whose vectors no recorded
    query can ask for, by its ids. `names`: what a collection is called at `url`, where it is not
    its own name.
    """
    rest = QdrantRest(url, api_key)
    proofs: list[Proof] = []
    for recorded_name, recorded in facts["collections"].items():
        name = (names or {}).get(recorded_name, recorded_name)
        subject = f"{recorded_name} at {url}"
        try:
            proofs += _proofs(rest, name, recorded, subject)
        except (PlaceError, KeyError, TypeError) as error:
            proofs.append(Proof("qdrant", subject, False, f"cannot be asked: {error}"))
    return tuple(proofs)


def _proofs(
    rest: QdrantRest, name: str, recorded: Mapping[str, Any], subject: str
) -> Iterator[Proof]:
    expected, queries = recorded["points"], recorded["queries"]
    counted = rest.count(name)
    if expected is None:
        live = " to ".join(map(str, sorted(set(recorded["live_points"]))))
        words = f"{counted} points, about {live} on the server then: {NOT_RECORDED}"
        yield Proof("qdrant count", subject, False, words)
    else:
        words = f"{counted} points, {expected} in the point"
        yield Proof("qdrant count", subject, counted == expected, words)
    yield _aliases(rest, name, recorded["aliases"], subject)
    if queries:
        yield _queries(rest, name, queries, subject)
    elif expected:
        same = rest.ids_sha256(name) == recorded["ids_sha256"]
        words = "are those in the point" if same else "are NOT those in the point"
        yield Proof("qdrant ids", subject, same, f"no query was recorded; the ids {words}")


def _aliases(rest: QdrantRest, name: str, expected: list[str], subject: str) -> Proof:
    found = aliases_of(rest.aliases(), name)
    return Proof(
        "qdrant aliases",
        subject,
        found == sorted(expected),
        f"{', '.join(found) or 'none'}; in the point: {', '.join(sorted(expected)) or 'none'}",
    )


def _queries(rest: QdrantRest, name: str, queries: list[Mapping[str, Any]], subject: str) -> Proof:
    wrong = 0
    for query in queries:
        found = rest.query(name, query["vector"], using=query.get("using"), limit=query["limit"])
        wrong += found != list(query["ids"])
    return Proof(
        "qdrant queries",
        subject,
        wrong == 0,
        f"{len(queries) - wrong} of {len(queries)} recorded queries find the same points",
    )
