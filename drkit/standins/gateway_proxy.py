"""The gateway's way of a request: tier 1, else tier 2, streamed as it comes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from drkit.http_client import NoAnswer, answering, open_async_client
from drkit.io_policy import Deadline

if TYPE_CHECKING:
    import httpx

UPSTREAM = Deadline(connect_s=1, total_s=10)  # total_s: the longest silence, not the whole answer
PASSED_ON = ("content-type", "x-instance")


@dataclass(frozen=True, slots=True)
class Tier:
    """One place that answers. `url` None: nowhere yet."""

    enabled: bool
    url: str | None


class Unanswered(Exception):
    """A tier that is off, unreachable, silent, or answered with 5xx."""


class Proxy:
    """Reads `tiers` anew at every request. Counts what it did."""

    def __init__(self, tiers: Mapping[str, Tier], upstream_key: str | None) -> None:
        self._tiers = tiers
        self._upstream_key = upstream_key
        self._client: httpx.AsyncClient | None = None
        self._served = {"1": 0, "2": 0}
        self._fallbacks = 0
        self._failures = 0

    def stats(self) -> dict[str, object]:
        return {
            "requests": sum(self._served.values()) + self._failures,
            "by_tier": dict(self._served),
            "fallbacks": self._fallbacks,
            "failures": self._failures,
        }

    async def forward(self, request: Request) -> Response:
        body = await request.body()
        forced = request.headers.get("x-no-fallback") == "1"
        try:
            return await self._ask("1", request, body)
        except Unanswered as error:
            if forced:
                self._failures += 1
                status = 502 if self._tiers["1"].enabled else 503
                return _unavailable(f"tier 1: {error}; the fallback was forbidden", status)
            if self._tiers["1"].enabled:
                self._fallbacks += 1
        try:
            return await self._ask("2", request, body)
        except Unanswered as error:
            self._failures += 1
            return _unavailable(f"no tier answers; tier 2: {error}", 503)

    async def _ask(self, name: str, request: Request, body: bytes) -> Response:
        tier = self._tiers[name]
        if not tier.enabled or not tier.url:
            raise Unanswered("off" if tier.url else "leads nowhere")
        if self._client is None:
            self._client = open_async_client(UPSTREAM)
        asked = self._client.build_request(
            request.method,
            tier.url + request.url.path,
            content=body,
            headers=self._headers(name, request),
        )
        try:
            with answering(tier.url):
                answer = await self._client.send(asked, stream=True)
        except NoAnswer as error:
            raise Unanswered(error.message) from error
        if answer.status_code >= 500:
            await answer.aclose()
            raise Unanswered(f"status {answer.status_code} from {tier.url}")
        self._served[name] += 1
        passed = {key: answer.headers[key] for key in PASSED_ON if key in answer.headers}
        return StreamingResponse(
            _bytes_of(answer), answer.status_code, headers=passed | {"x-gateway-tier": name}
        )

    def _headers(self, name: str, request: Request) -> dict[str, str]:
        headers = {"content-type": request.headers.get("content-type", "application/json")}
        if name == "1" and self._upstream_key:
            headers["authorization"] = f"Bearer {self._upstream_key}"
        return headers


async def _bytes_of(answer: httpx.Response) -> AsyncIterator[bytes]:
    """The body as it comes. One that breaks off breaks off here too: no fallback can mend it."""
    try:
        async for part in answer.aiter_bytes():
            yield part
    finally:
        with suppress(Exception):
            await answer.aclose()


def _unavailable(message: str, status: int) -> Response:
    error = {"message": message, "type": "ServiceUnavailableError", "param": None, "code": status}
    return JSONResponse({"error": error}, status, headers={"retry-after": "5"})
