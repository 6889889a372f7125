"""A Qdrant on the real engine: the REST routes that backups, restores and checks use.

    python -m drkit.standins.qdrant --host 127.0.0.1 --port 6333 --data DIR [--api-key-file FILE]

One peer, one shard per collection. A shard's snapshot has the layout of a server's stream, and
uploads are unpacked by the engine itself. What was answered is on disk.
"""

from __future__ import annotations

import argparse
import hmac
import itertools
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from drkit.standins import qdrant_engine as engine
from drkit.standins.multipart import NotMultipart, receive_file
from drkit.standins.qdrant_collections import Collections, Exists, Missing
from drkit.standins.qdrant_engine import Json, WrongInput
from drkit.standins.serve import serve

VERSION = {"title": "qdrant - vector search engine", "version": "1.19.0", "commit": None}
PRIORITIES = ("no_sync", "snapshot", "replica")
OPEN_PATHS = ("/", "/healthz", "/livez", "/readyz")
STREAM_BYTES = 1 << 20

Work = Callable[[Request, Json], Any]
_numbers = itertools.count(1)


class Qdrant:
    """The application over `collections`."""

    def __init__(self, collections: Collections, api_key: str | None) -> None:
        self._all = collections
        self._key = api_key
        at, points = "/collections/{name}", "/collections/{name}/points"
        routes: list[tuple[str, str, Work]] = [
            ("GET", "/collections", self._list),
            ("GET", "/aliases", lambda _r, _b: {"aliases": self._all.aliases()}),
            ("POST", "/collections/aliases", self._change_aliases),
            ("GET", "/cluster", lambda _r, _b: {"status": "disabled"}),
            ("GET", at, lambda r, _b: self._get(r).info()),
            ("PUT", at, self._create),
            ("DELETE", at, lambda r, _b: self._all.delete(r.path_params["name"])),
            ("GET", f"{at}/exists", self._exists),
            ("GET", f"{at}/aliases", self._aliases_of),
            ("GET", f"{at}/cluster", lambda r, _b: self._get(r).cluster()),
            ("PUT", f"{at}/index", self._writing(engine.create_index)),
            ("PUT", points, self._writing(engine.upsert)),
            ("POST", points, self._reading(engine.retrieve)),
            ("POST", f"{points}/count", self._count),
            ("POST", f"{points}/scroll", self._reading(engine.scroll)),
            ("POST", f"{points}/query", self._reading(engine.query)),
            ("POST", f"{points}/delete", self._writing(engine.delete)),
            ("POST", f"{points}/payload", self._writing(engine.set_payload)),
        ]
        shard = f"{at}/shards/{{shard:int}}"
        self.app = Starlette(
            routes=[
                Route("/", self._version),
                *(Route(path, self._alive) for path in OPEN_PATHS[1:]),
                *(Route(path, self._answering(work), methods=[m]) for m, path, work in routes),
                Route(f"{shard}/snapshot", self._download),
                Route(f"{shard}/snapshots/upload", self._upload, methods=["POST"]),
            ]
        )

    def _answering(self, work: Work) -> Callable[[Request], Any]:
        """An endpoint that wraps what `work` returns, or how it failed, as Qdrant does."""

        async def endpoint(request: Request) -> Response:
            started = time.perf_counter()
            if refused := self._stranger(request):
                return refused
            raw = await request.body()
            try:
                body = json.loads(raw) if raw else {}
                result = await run_in_threadpool(work, request, body)
            except Exception as error:  # any failure is an answer, and the server lives on
                return _failed(error, started)
            return _done(result, started)

        return endpoint

    async def _version(self, _request: Request) -> Response:
        return JSONResponse(VERSION)

    async def _alive(self, _request: Request) -> Response:
        return PlainTextResponse("all shards are ready")

    async def _download(self, request: Request) -> Response:
        started = time.perf_counter()
        if refused := self._stranger(request):
            return refused
        packed = self._all.incoming / f"out-{next(_numbers)}.tar"
        try:
            await run_in_threadpool(self._get_shard(request).pack, packed)
        except Exception as error:
            return _failed(error, started)
        return StreamingResponse(_file_once(packed), media_type="application/octet-stream")

    async def _upload(self, request: Request) -> Response:
        started = time.perf_counter()
        if refused := self._stranger(request):
            return refused
        scratch = self._all.incoming / f"in-{next(_numbers)}"
        received = scratch.with_suffix(".tar")
        try:
            collection = self._get_shard(request)
            if request.query_params.get("priority", "snapshot") not in PRIORITIES:
                raise WrongInput(f"priority is one of {', '.join(PRIORITIES)}")
            kind = request.headers.get("content-type", "")
            digest = await receive_file(kind, request.stream(), "snapshot", received)
            if request.query_params.get("checksum", digest) != digest:
                raise WrongInput(f"the snapshot's checksum is {digest}")
            await run_in_threadpool(collection.replace_shard, received, scratch)
        except Exception as error:
            return _failed(error, started)
        finally:
            received.unlink(missing_ok=True)
        return _done(True, started)

    def _list(self, _request: Request, _body: Json) -> Json:
        return {"collections": [{"name": name} for name in self._all.names()]}

    def _create(self, request: Request, body: Json) -> bool:
        self._all.create(request.path_params["name"], body)
        return True

    def _exists(self, request: Request, _body: Json) -> Json:
        with suppress(Missing):
            return {"exists": bool(self._get(request))}
        return {"exists": False}

    def _aliases_of(self, request: Request, _body: Json) -> Json:
        return {"aliases": self._all.aliases(request.path_params["name"])}

    def _change_aliases(self, _request: Request, body: Json) -> bool:
        self._all.change_aliases(body["actions"])
        return True

    def _count(self, request: Request, body: Json) -> Json:
        with self._get(request).reading() as shard:
            return {"count": engine.count(shard, body)}

    def _reading(self, work: Callable[[Any, Json], Any]) -> Work:
        def run(request: Request, body: Json) -> Any:
            with self._get(request).reading() as shard:
                return work(shard, body)

        return run

    def _writing(self, work: Callable[[Any, Json], None]) -> Work:
        def run(request: Request, body: Json) -> Json:
            with self._get(request).writing() as shard:
                work(shard, body)
            return {"operation_id": next(_numbers), "status": "completed"}

        return run

    def _get(self, request: Request) -> Any:
        return self._all.get(request.path_params["name"])

    def _get_shard(self, request: Request) -> Any:
        if request.path_params["shard"] != 0:
            raise Missing(f"Not found: Shard {request.path_params['shard']} not found")
        return self._get(request)

    def _stranger(self, request: Request) -> Response | None:
        given = request.headers.get("api-key", "")
        given = given or request.headers.get("authorization", "").removeprefix("Bearer ")
        if self._key is None or hmac.compare_digest(given.encode(), self._key.encode()):
            return None
        return PlainTextResponse("Must provide an API key or an Authorization bearer token", 401)


def _done(result: Any, started: float) -> Response:
    return JSONResponse(
        {"usage": None, "result": result, "status": "ok", "time": time.perf_counter() - started}
    )


def _failed(error: Exception, started: float) -> Response:
    status = {Missing: 404, Exists: 409}.get(type(error), 400)
    message = f"{type(error).__name__}: {error}" if status == 400 else str(error)
    known = (Missing, Exists, WrongInput, NotMultipart, KeyError, TypeError, ValueError)
    if not isinstance(error, known) and type(error) is not Exception:
        status = 500
    return JSONResponse(
        {"status": {"error": message}, "time": time.perf_counter() - started}, status
    )


def _file_once(path: Path) -> Iterator[bytes]:
    """The file's bytes; it is deleted when they were sent, or nobody wants them any more."""
    try:
        with path.open("rb") as file:
            while part := file.read(STREAM_BYTES):
                yield part
    finally:
        path.unlink(missing_ok=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="drkit.standins.qdrant")
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--api-key-file", type=Path)
    options = parser.parse_args()
    key = options.api_key_file.read_text().strip() if options.api_key_file else None
    return serve(Qdrant(Collections(options.data), key).app, options.host, options.port)


if __name__ == "__main__":
    sys.exit(main())
