"""Asks witnesses elsewhere what they see of a service. One is a second point of view, no more:
what follows from what they say is the decision's to weigh (H3).
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import Enum
from urllib.parse import urlencode, urlsplit

from drkit.clock import Clock
from drkit.compute.interface import Endpoint
from drkit.health.ask import ask
from drkit.health.witness.statement import Untrustworthy, Word, opened
from drkit.http_client import NoAnswer
from drkit.io_policy import WITNESS_CALL, Deadline

PATH = "/v1/observation"
OLDEST_S = 90.0
"""A word about rounds that are older says nothing about now: three rounds were missed."""


class Voice(Enum):
    WELL = "well"
    DOWN = "down"
    SILENT = "silent"


@dataclass(frozen=True, slots=True)
class Heard:
    """What one witness says. `detail`: of what it saw; for SILENT why it counts as saying nothing.

    SILENT is neither a word for nor against, and not one of those who see.
    """

    witness: str
    voice: Voice
    detail: str


@dataclass(frozen=True, slots=True)
class WitnessPlace:
    """Where a witness is asked, and how it is known. `trust`: a PEM file of certificates that
    are trusted for it in place of this machine's own.
    """

    url: str
    token: str = field(repr=False)
    verifying_key: str
    trust: str | None = None


def hear(
    places: Mapping[str, WitnessPlace],
    *,
    service: str,
    site: str,
    clock: Clock,
    deadline: Deadline = WITNESS_CALL,
) -> tuple[Heard, ...]:
    """What each witness says about `service` at `site` now; all at once, within the deadline.

    Never raises for what a witness does: it is SILENT then, and why is said.
    """
    if not places:
        return ()
    with ThreadPoolExecutor(len(places), "witness") as pool:
        asked = (
            pool.submit(_heard, name, place, service, site, clock, deadline)
            for name, place in places.items()
        )
        return tuple(each.result() for each in list(asked))


def _heard(
    name: str, place: WitnessPlace, service: str, site: str, clock: Clock, deadline: Deadline
) -> Heard:
    try:
        return _answered(name, place, service, site, clock, deadline)
    except (NoAnswer, Untrustworthy) as error:
        why = error.message if isinstance(error, NoAnswer) else str(error)
        return Heard(name, Voice.SILENT, why)


def _answered(
    name: str, place: WitnessPlace, service: str, site: str, clock: Clock, deadline: Deadline
) -> Heard:
    nonce = secrets.token_hex(16)
    query = urlencode({"service": service, "nonce": nonce})
    reply = ask(
        _endpoint(place.url),
        "GET",
        f"{urlsplit(place.url).path.rstrip('/')}{PATH}?{query}",
        deadline,
        clock=clock,
        api_key=place.token,
        trust=place.trust,
    )
    if reply.status != 200:
        raise Untrustworthy(_REFUSALS.get(reply.status, f"it answers {reply.status}"))
    said = opened(reply.body, place.verifying_key, nonce)
    if said.service != service or said.site != site:
        raise Untrustworthy(f"it watches {said.service} at {said.site}, not {service} at {site}")
    if said.age_s is None:
        raise Untrustworthy("it has made no round yet")
    age_s = said.age_s + reply.latency_s
    if age_s > OLDEST_S:
        raise Untrustworthy(f"its last round is {age_s:.0f} s old")
    detail = f"{said.state}, {age_s:.0f} s ago: {said.rounds[0].saw}"
    match said.word:
        case Word.WELL:
            return Heard(name, Voice.WELL, detail)
        case Word.DOWN:
            return Heard(name, Voice.DOWN, detail)
        case Word.NOT_KNOWN:
            return Heard(name, Voice.SILENT, f"it does not know: {detail}")


_REFUSALS = {
    401: "it does not take the token",
    404: "it does not watch this service",
    429: "it was asked too often",
}


def _endpoint(url: str) -> Endpoint:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return Endpoint(parts.scheme, parts.hostname or "", port)
