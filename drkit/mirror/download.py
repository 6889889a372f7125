"""Reads one presigned URL from an offset: `file://`, `https://`, and `http://` on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from drkit.clock import Clock
from drkit.http_wire import Route, Wire, host_header
from drkit.io_policy import STORE_REQUEST
from drkit.pace import Allowance
from drkit.stores.interface import StoreRefused, StoreUnreachable

CHUNK_BYTES = 1024 * 1024
_AGAIN = "the server will be asked again; if that fails too: drkit runs resume"
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def read_url(
    url: str, *, offset: int, size_bytes: int, clock: Clock, wire: Wire | None = None
) -> Iterator[tuple[int, bytes]]:
    """(offset, bytes) in order, from `offset` or, where a server cannot do that, from 0.

    `wire` is that of the operator's own store: its proxy, authorities and limits hold, and what
    it reads in the clear it is asked for in the clear. Errors name the host and never the URL,
    whose query is a secret: `StoreUnreachable` (again may help), `NoAnswer`, `StoreRefused`.
    """
    parts = urlsplit(url)
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return _read_file(Path(unquote(parts.path)), offset)
    host = parts.hostname or ""
    if wire is not None and parts.scheme in ("http", "https"):
        return _read_http(wire, url, host, offset, size_bytes, clock)
    if parts.scheme == "https" or (parts.scheme == "http" and host in _LOOPBACK):
        return _read_alone(url, host, offset, size_bytes, clock)
    raise StoreRefused(
        f"a ticket names a URL of the kind {parts.scheme[:20]!r}",
        hint="tickets hold https:// and file:// URLs only",
    )


def _read_file(path: Path, offset: int) -> Iterator[tuple[int, bytes]]:
    try:
        with path.open("rb", buffering=0) as file:
            file.seek(offset)
            while chunk := file.read(CHUNK_BYTES):
                yield offset, chunk
                offset += len(chunk)
    except OSError as error:
        raise StoreRefused(
            f"{path}: {error.strerror or error}", hint="is the store's folder on this machine?"
        ) from error


def _read_alone(
    url: str, host: str, offset: int, size_bytes: int, clock: Clock
) -> Iterator[tuple[int, bytes]]:
    wire = Wire(Route(proxy=_proxy(urlsplit(url).scheme, host)), clock=clock)
    try:
        yield from _read_http(wire, url, host, offset, size_bytes, clock)
    finally:
        wire.close()


def _read_http(
    wire: Wire, url: str, host: str, offset: int, size_bytes: int, clock: Clock
) -> Iterator[tuple[int, bytes]]:
    ends_s = clock.elapsed_s() + STORE_REQUEST.for_bytes(size_bytes - offset)
    headers = {"Host": host_header(url), "Accept-Encoding": "identity"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
    allowance = Allowance(STORE_REQUEST, clock, ends_s=ends_s)
    answer = wire.send("GET", url, headers, (), allowance=allowance)
    try:
        if answer.status == 200:
            offset = 0
        elif answer.status == 206:
            if not answer.headers.get("Content-Range", "").startswith(f"bytes {offset}-"):
                raise StoreUnreachable(f"{host} sent another range", hint=_AGAIN)
        elif answer.status in (408, 429) or answer.status >= 500:
            raise StoreUnreachable(f"{host} answered {answer.status}", hint=_AGAIN)
        else:
            raise StoreRefused(
                f"{host} refused with {answer.status}",
                hint="the ticket may have expired: drkit runs resume mints a new one",
            )
        while chunk := answer.body.read(CHUNK_BYTES):
            yield offset, chunk
            offset += len(chunk)
    finally:
        answer.body.close()


def _proxy(scheme: str, host: str) -> str | None:
    """The HTTP proxy that this machine's environment names for `host`, never for loopback."""
    if host in _LOOPBACK or proxy_bypass(host):
        return None
    return getproxies().get(scheme)
