"""A gateway with two tiers: the own GPU, and an external API that it falls back to by itself.

    python -m drkit.standins.gateway --host 127.0.0.1 --port 8080 --data DIR
        --external URL [--upstream URL] [--admin-token-file FILE] [--upstream-key-file FILE]

Its users never see that the GPU is gone, and neither does a careless check: that is the point of
it. A request with `x-no-fallback: 1` is answered by tier 1 or not at all. Which tiers are on, and
where they lead, lies in DIR/gateway.json and survives a restart.

Admin (a bearer token where one was given):
    GET  /api/admin/config                          {"tiers": {"1": {"enabled": ..., "url": ...}}}
    GET  /api/admin/stats                           requests, by tier, fallbacks ...
    POST /api/admin/emergency-rollback              tier 1 off: all users to the external API
    POST /api/admin/toggle-tier?tier=1&enabled=true
    POST /api/admin/upstream?url=http://...         where tier 1 leads; does not turn it on
"""

from __future__ import annotations

import argparse
import hmac
import json
import sys
from pathlib import Path
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from drkit.standins.gateway_proxy import Proxy, Tier
from drkit.standins.serve import serve
from drkit.stores.durable import write_file


class Settings:
    """The tiers as they were last set, kept in one file."""

    def __init__(self, path: Path, upstream: str | None, external: str) -> None:
        self._path = path
        known = json.loads(path.read_text()) if path.exists() else {}
        first = known.get("1", {"enabled": upstream is not None, "url": upstream})
        self.tiers = {"1": Tier(**first), "2": Tier(enabled=True, url=external)}
        self._save()

    def change(self, tier: str, *, enabled: bool | None = None, url: str | None = None) -> None:
        now = self.tiers[tier]
        self.tiers[tier] = Tier(
            enabled=now.enabled if enabled is None else enabled,
            url=now.url if url is None else url,
        )
        self._save()

    def shown(self) -> dict[str, dict[str, object]]:
        return {name: {"enabled": t.enabled, "url": t.url} for name, t in self.tiers.items()}

    def _save(self) -> None:
        write_file(self._path, json.dumps(self.shown(), indent=1).encode())


class Gateway:
    """The application: admin calls here, users' requests in the proxy."""

    def __init__(
        self,
        settings: Settings,
        *,
        token: str | None,
        upstream_key: str | None,
        confidence: float = 0.9,
    ) -> None:
        self._settings = settings
        self._token = token
        self._confidence = confidence
        self._proxy = Proxy(settings.tiers, upstream_key)
        self.app = Starlette(
            routes=[
                Route("/health", self._health),
                Route("/v1/models", self._proxy.forward),
                Route("/v1/chat/completions", self._proxy.forward, methods=["POST"]),
                Route("/v1/completions", self._proxy.forward, methods=["POST"]),
                Route("/api/admin/config", self._config),
                Route("/api/admin/stats", self._stats),
                Route("/api/admin/emergency-rollback", self._rollback, methods=["POST"]),
                Route("/api/admin/toggle-tier", self._toggle, methods=["POST"]),
                Route("/api/admin/upstream", self._upstream, methods=["POST"]),
            ]
        )

    async def _health(self, _request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def _config(self, request: Request) -> Response:
        return self._stranger(request) or self._state()

    async def _stats(self, request: Request) -> Response:
        """Nothing here judges answers: `confidence` is a number that was given."""
        stats = {**self._proxy.stats(), "confidence": self._confidence}
        return self._stranger(request) or JSONResponse(stats)

    async def _rollback(self, request: Request) -> Response:
        if refused := self._stranger(request):
            return refused
        self._settings.change("1", enabled=False)
        return self._state()

    async def _toggle(self, request: Request) -> Response:
        if refused := self._stranger(request):
            return refused
        tier, enabled = request.query_params.get("tier"), request.query_params.get("enabled")
        if tier not in self._settings.tiers or enabled not in ("true", "false"):
            return JSONResponse({"error": "tier is 1 or 2, enabled is true or false"}, 400)
        self._settings.change(tier, enabled=enabled == "true")
        return self._state()

    async def _upstream(self, request: Request) -> Response:
        if refused := self._stranger(request):
            return refused
        url = request.query_params.get("url", "")
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
            return JSONResponse({"error": "url must be http:// or https:// with a host"}, 400)
        self._settings.change("1", url=url.rstrip("/"))
        return self._state()

    def _state(self) -> Response:
        return JSONResponse({"tiers": self._settings.shown()})

    def _stranger(self, request: Request) -> Response | None:
        """A refusal, unless the request carries the admin token or none is needed."""
        if self._token is None:
            return None
        given = request.headers.get("authorization", "")
        if hmac.compare_digest(given.encode(), f"Bearer {self._token}".encode()):
            return None
        return JSONResponse({"error": "admin calls need the admin token"}, 401)


def main() -> int:
    parser = argparse.ArgumentParser(prog="drkit.standins.gateway")
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--external", required=True)
    parser.add_argument("--upstream")
    parser.add_argument("--admin-token-file", type=Path)
    parser.add_argument("--upstream-key-file", type=Path)
    parser.add_argument("--confidence", type=float, default=0.9)
    options = parser.parse_args()
    gateway = Gateway(
        Settings(options.data / "gateway.json", options.upstream, options.external),
        token=_read(options.admin_token_file),
        upstream_key=_read(options.upstream_key_file),
        confidence=options.confidence,
    )
    return serve(gateway.app, options.host, options.port)


def _read(path: Path | None) -> str | None:
    return path.read_text().strip() if path else None


if __name__ == "__main__":
    sys.exit(main())
