"""Stores on servers of raw sockets, each with the answers that its kind of server gives."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import google_crc32c
from raw_server import RawServer, Step, Talk, says
from s3_servers import b2_store, impatient, s3_store

from drkit.clock import SystemClock
from drkit.config.stores import GcsStore as GcsConfig
from drkit.http_wire import Route
from drkit.io_policy import Deadline, Retry
from drkit.stores.gcs.store import GcsStore, settings_of
from drkit.stores.interface import Store

DATA = b"what the store holds" * 1000
LEAST_BYTES_PER_S = 50_000

Opened = Callable[..., tuple[Store, RawServer]]


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a kind of server talks. `gives(data)` answers a read, `takes` an upload as it should
    be; `storms` are refusals that pass by waiting.
    """

    name: str
    open: Callable[..., Store]
    gives: Callable[[bytes], Step]
    takes: Step
    keeps_it_wrong: Step
    storms: tuple[Step, ...]
    busy: Callable[..., Step]


def opened_on(dialect: Dialect) -> Iterator[Opened]:
    """For a fixture: opens stores on servers that follow a script; ends both."""
    servers: list[RawServer] = []
    stores: list[Store] = []

    def open_on(
        *steps: Step, tries: int = 4, total_s: float = 20, **fields: object
    ) -> tuple[Store, RawServer]:
        server = RawServer(*steps)
        servers.append(server)
        store = dialect.open(server.url, tries=tries, total_s=total_s, **fields)
        stores.append(store)
        return store, server

    yield open_on
    for store in stores:
        store.close()
    for server in servers:
        server.stop()


def _s3(url: str, *, tries: int, total_s: float, **fields: object) -> Store:
    pace = impatient(total_s=total_s, min_bytes_per_s=LEAST_BYTES_PER_S, tries=tries)
    return s3_store(url, "bucket", pace=pace, **fields)


def _b2(url: str, *, tries: int, total_s: float, **fields: object) -> Store:
    pace = impatient(total_s=total_s, min_bytes_per_s=LEAST_BYTES_PER_S, tries=tries)
    return b2_store(url, "bucket", pace=pace, **fields)


def _gcs(url: str, *, tries: int, total_s: float, **fields: Any) -> GcsStore:
    config = GcsConfig.model_validate(
        {"kind": "gcs", "role": "backup", "bucket": "bucket", "endpoint": url, **fields}
    )
    deadline = Deadline(connect_s=1, total_s=total_s, min_bytes_per_s=LEAST_BYTES_PER_S)
    retry = Retry(tries=tries, first_s=0.01, most_s=0.05)
    route = Route(proxy=config.proxy)
    return GcsStore(
        "gcs", settings_of(config), None, route, SystemClock(), deadline=deadline, retry=retry
    )


def s3_gives(data: bytes) -> Step:
    return lambda talk: talk.answer(200, data, ETag='"x"')


def s3_takes(talk: Talk) -> None:
    _s3_stored(talk, talk.read_body())


def _s3_keeps_it_wrong(talk: Talk) -> None:
    body = bytearray(talk.read_body())
    body[0] ^= 1
    _s3_stored(talk, body)


def _s3_stored(talk: Talk, body: bytes | bytearray) -> None:
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    etag = f'"{hashlib.md5(body).hexdigest()}"'
    talk.answer(200, ETag=etag, x_amz_checksum_sha256=digest)


def crc32c(data: bytes) -> str:
    return base64.b64encode(google_crc32c.value(data).to_bytes(4, "big")).decode()


def gcs_gives(data: bytes, said: str | None = None) -> Step:
    return lambda talk: talk.answer(200, data, X_Goog_Hash=f"crc32c={said or crc32c(data)}")


def gcs_takes(talk: Talk) -> None:
    body = talk.read_body()
    sent = json.loads(body.split(b"\r\n\r\n", 2)[1].partition(b"\r\n")[0])
    size = len(body.split(b"\r\n\r\n", 2)[2].rpartition(b"\r\n--")[0])
    gcs_shows(name="a", size=str(size), crc32c=sent["crc32c"], generation="7")(talk)


def gcs_keeps_it_wrong(talk: Talk) -> None:
    if talk.method in ("POST", "GET"):
        gcs_shows(name="a", size=str(len(DATA)), crc32c="AAAAAA==", generation="7")(talk)
    else:
        talk.read_body()
        talk.answer(204)


def gcs_shows(**values: object) -> Step:
    """What is known of an object."""

    def step(talk: Talk) -> None:
        talk.read_body()
        talk.answer(200, json.dumps(values).encode())

    return step


def gcs_says(status: int, reason: str = "", message: str = "", **headers: str) -> Step:
    error = {"code": status, "message": message, "errors": [{"reason": reason}]}

    def step(talk: Talk) -> None:
        talk.read_body()
        talk.answer(status, json.dumps({"error": error}).encode(), **headers)

    return step


def _s3_busy(**headers: str) -> Step:
    return says(503, "SlowDown", **headers)


def _gcs_busy(**headers: str) -> Step:
    return gcs_says(503, "backendError", **headers)


_S3_STORMS = (says(429, "TooManyRequests"), says(500, "InternalError"), says(503, "SlowDown"))
_GCS_STORMS = (
    gcs_says(429, "rateLimitExceeded"),
    gcs_says(403, "userRateLimitExceeded"),
    gcs_says(500, "backendError"),
    gcs_says(503, "backendError"),
    gcs_says(408),
)

S3 = Dialect("s3", _s3, s3_gives, s3_takes, _s3_keeps_it_wrong, _S3_STORMS, _s3_busy)
B2 = Dialect("b2", _b2, s3_gives, s3_takes, _s3_keeps_it_wrong, _S3_STORMS, _s3_busy)
GCS = Dialect("gcs", _gcs, gcs_gives, gcs_takes, gcs_keeps_it_wrong, _GCS_STORMS, _gcs_busy)
