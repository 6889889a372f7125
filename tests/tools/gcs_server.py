"""Cloud Storage on loopback: the emulator of PyPI behind a filter that does what it leaves out.

The emulator (gcp-storage-emulator) keeps objects, checks checksums and lists. It ignores generation
preconditions, holds, retention, page sizes, tokens and signatures; the filter enforces
them as the JSON API's reference describes, one request at a time. What is proved against it is
proved against this stand-in, not against Google.
"""

from __future__ import annotations

import base64
import functools
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.client import HTTPMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

from gcs_account import EMAIL, Account, Json, Refusal
from gcs_emulator import Answer, Emulator

from drkit.clock import SystemClock
from drkit.config.stores import GcsStore as GcsConfig
from drkit.http_wire import Route
from drkit.io_policy import STORE_REQUEST, Deadline, Retry
from drkit.stores.gcs.store import GcsStore, settings_of

# What the emulator does not keep of an object's metadata.
_KEPT = ("retention", "temporaryHold", "eventBasedHold", "kmsKeyName", "metadata")
BRISK = Retry(tries=6, first_s=0.01, most_s=0.05)


@dataclass
class Rules:
    """What a test may set. `extra` is laid over the bucket's own metadata."""

    permissions: set[str] = field(default_factory=set)
    extra: Json = field(default_factory=dict)
    date_off_s: float = 0
    clock_ahead_s: float = 0


class GcsServer:
    """The filter. `url` is the endpoint; `requests` counts (method, path) as they came."""

    def __init__(self, bucket: str = "drkit-test") -> None:
        self.bucket = bucket
        self.rules = Rules()
        self.requests: list[tuple[str, str]] = []
        self.account = Account()
        self._lock = threading.RLock()
        self._objects: dict[str, Json] = {}
        self._uploads: dict[str, tuple[str, str | None, Json]] = {}
        self._inner = Emulator(bucket)
        handler = type("Handler", (_Handler,), {"server_": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._inner.close()

    def key_file(self) -> str:
        """The text of a service account's key that this server takes."""
        return self.account.key_file(f"{self.url}/token")

    def store(
        self,
        *,
        prefix: str = "",
        url: str | None = None,
        deadline: Deadline = STORE_REQUEST,
        retry: Retry = BRISK,
        key: str | None = None,
        **fields: Any,
    ) -> GcsStore:
        """The bucket, quick to ask again; at `url`, where something stands in between. `key` is
        a key file's text instead of the server's own, or empty for none."""
        values = {"kind": "gcs", "role": "backup", "bucket": self.bucket, "prefix": prefix}
        config = GcsConfig.model_validate(values | {"endpoint": url or self.url} | fields)
        route = Route(proxy=config.proxy, ca_file=config.ca_file)
        settings = settings_of(config)
        written = self.key_file() if key is None else key or None
        return GcsStore(
            "gcs", settings, written, route, SystemClock(), deadline=deadline, retry=retry
        )

    def set_bucket(self, **settings: Any) -> None:
        """Changes the bucket's settings: versioning, lifecycle, ..."""
        self.rules.extra.update(settings)

    def answer(self, method: str, target: str, headers: HTTPMessage, body: bytes) -> Answer:
        with self._lock:
            self.requests.append((method, target))
            try:
                return self._answer(method, target, headers, body)
            except Refusal as refusal:
                return _refused(refusal)
            except (ValueError, IndexError, KeyError):
                return _refused(Refusal(400, "parseError", "The request cannot be parsed."))

    def _answer(self, method: str, target: str, headers: HTTPMessage, body: bytes) -> Answer:
        parts = urlsplit(target)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        if parts.path == "/token":
            return _json(self.account.token(body))
        if "X-Goog-Signature" in query:
            self.account.check_signature(
                method, parts.path, parts.query, headers["Host"], self.rules.clock_ahead_s
            )
            return self._read(unquote(parts.path).split("/", 2)[2], headers)
        self.account.check_token(headers.get("Authorization", ""))
        path = parts.path.removeprefix("/upload").removeprefix("/storage/v1")
        bucket, _, rest = path.removeprefix("/b/").partition("/")
        if bucket != self.bucket:
            raise Refusal(404, "notFound", "The specified bucket does not exist.")
        if not rest:
            return self._bucket()
        if rest == "iam/testPermissions":
            asked = parse_qs(parts.query).get("permissions", [])
            return _json({"permissions": [one for one in asked if one in self.rules.permissions]})
        if rest == "o":
            if method == "GET":
                return self._list(query)
            return self._upload(method, target, headers, body, query)
        name = unquote(rest.removeprefix("o/"))
        if method == "DELETE":
            return self._delete(name, query)
        if method == "PATCH":
            return self._patch(name, json.loads(body))
        if query.get("alt") == "media":
            return self._read(name, headers)
        return _json(self._current(name))

    # Objects

    def _read(self, name: str, headers: HTTPMessage) -> Answer:
        found = self._current(name)
        wanted = headers.get("Range", "").removeprefix("bytes=")
        first = wanted.partition("-")[0]
        if first.isdigit() and int(first) >= int(found["size"]):
            raise Refusal(416, "requestedRangeNotSatisfiable", "The range is past the end.")
        status, answered, data = self._inner.content(name, headers)
        return status, {**answered, "X-Goog-Generation": found["generation"]}, data

    def _list(self, query: dict[str, str]) -> Answer:
        inner = f"/storage/v1/b/{self.bucket}/o?" + urlencode({"prefix": query.get("prefix", "")})
        _, _, data = self._inner.ask("GET", inner, {}, b"")
        items = sorted(json.loads(data)["items"], key=lambda item: str(item["name"]))
        after = base64.b64decode(query.get("pageToken", "")).decode()
        items = [item for item in items if item["name"] > after]
        most = int(query.get("maxResults", 1000))
        page: Json = {"kind": "storage#objects"}
        if items:
            page["items"] = [{**item, **self._extra(item)} for item in items[:most]]
        if len(items) > most:
            page["nextPageToken"] = base64.b64encode(items[most - 1]["name"].encode()).decode()
        return _json(page)

    def _delete(self, name: str, query: dict[str, str]) -> Answer:
        self._current(name)
        self._check_generation(name, query.get("ifGenerationMatch"))
        self._check_free(name)
        self._inner.delete(name)
        self._objects.pop(name, None)
        return 204, {}, b""

    def _patch(self, name: str, values: Json) -> Answer:
        self._current(name)
        self._objects.setdefault(name, {}).update(
            {key: values[key] for key in _KEPT if key in values}
        )
        return _json(self._current(name))

    def _upload(
        self,
        method: str,
        target: str,
        headers: HTTPMessage,
        body: bytes,
        query: dict[str, str],
    ) -> Answer:
        session = query.get("upload_id")
        if session is not None:
            return self._part(method, session, target, headers, body)
        kind = query.get("uploadType")
        resource = json.loads(body) if kind == "resumable" else _resource_of(headers, body)
        name, wanted = str(resource["name"]), query.get("ifGenerationMatch")
        self._check_generation(name, wanted)
        self._check_free(name)
        if kind == "resumable":
            status, answered, data = self._inner.ask("POST", target, headers, body)
            location = answered["Location"]
            upload = parse_qs(urlsplit(location).query)["upload_id"][0]
            self._uploads[upload] = (name, wanted, resource)
            return status, answered, data
        status, answered, data = self._inner.ask("POST", target, headers, body)
        if status == 200:
            self._remember(name, resource)
            data = json.dumps(self._current(name)).encode()
        return status, answered, data

    def _part(
        self, method: str, session: str, target: str, headers: HTTPMessage, body: bytes
    ) -> Answer:
        if session not in self._uploads:
            raise Refusal(410, "gone", "The upload session is gone.")
        if method == "DELETE":
            del self._uploads[session]
            return 499, {}, b""
        name, wanted, resource = self._uploads[session]
        self._check_generation(name, wanted)
        status, answered, data = self._inner.ask("PUT", target, headers, body)
        if status == 308 and answered.get("Range") == "bytes=0-0":
            answered.pop("Range")  # what the emulator says for nothing at all
        if status != 200:
            return status, answered, data
        del self._uploads[session]
        said = headers.get("X-Goog-Hash", "")
        if said and said != f"crc32c={json.loads(data)['crc32c']}":
            self._inner.delete(name)
            raise Refusal(400, "invalid", "Provided CRC32C does not match the content.")
        self._remember(name, resource)
        return status, answered, json.dumps(self._current(name)).encode()

    def _remember(self, name: str, resource: Json) -> None:
        self._objects[name] = {key: resource[key] for key in _KEPT if key in resource}

    def _current(self, name: str) -> Json:
        status, _, data = self._inner.about(name)
        if status != 200:
            raise Refusal(404, "notFound", f"No such object: {self.bucket}/{name}")
        item: Json = json.loads(data)
        return {**item, **self._extra(item)}

    def _extra(self, item: Json) -> Json:
        return self._objects.get(item["name"], {})

    def _check_generation(self, name: str, wanted: str | None) -> None:
        if wanted is None:
            return
        try:
            found = self._current(name)["generation"]
        except Refusal:
            found = "0"
        if wanted != found:
            raise Refusal(412, "conditionNotMet", "At least one of the pre-conditions is not met.")

    def _check_free(self, name: str) -> None:
        held = self._objects.get(name, {})
        if held.get("temporaryHold") or held.get("eventBasedHold"):
            raise Refusal(403, "objectUnderActiveHold", f"Object '{name}' is under active hold.")
        until = (held.get("retention") or {}).get("retainUntilTime")
        if until and datetime.fromisoformat(until) > datetime.now(UTC):
            said = f"Object '{name}' is subject to bucket's retention policy or object retention"
            raise Refusal(403, "retentionPolicyNotMet", said)

    def _bucket(self) -> Answer:
        if self.rules.permissions and "storage.buckets.get" not in self.rules.permissions:
            raise Refusal(403, "forbidden", f"{EMAIL} does not have storage.buckets.get access.")
        _, _, data = self._inner.ask("GET", f"/storage/v1/b/{self.bucket}", {}, b"")
        return _json({**json.loads(data), **self.rules.extra})


def _refused(refusal: Refusal) -> Answer:
    error = {
        "code": refusal.status,
        "message": refusal.said,
        "errors": [{"domain": "global", "reason": refusal.reason, "message": refusal.said}],
    }
    _, headers, data = _json({"error": error})
    return refusal.status, headers, data


def _json(values: Json) -> Answer:
    return 200, {"Content-Type": "application/json"}, json.dumps(values).encode()


def _resource_of(headers: HTTPMessage, body: bytes) -> Json:
    """The JSON part of a multipart/related upload."""
    boundary = headers["Content-Type"].partition("boundary=")[2].strip("'\"").encode()
    part = body.split(b"--" + boundary, 2)[1]
    values: Json = json.loads(part.partition(b"\r\n\r\n")[2])
    return values


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True
    server_: GcsServer

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if len(body) < length:
            self.close_connection = True  # broken off: nothing was asked
            return
        status, headers, data = self.server_.answer(self.command, self.path, self.headers, body)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self._serve
        raise AttributeError(name)

    def date_time_string(self, timestamp: float | None = None) -> str:
        return super().date_time_string(time.time() + self.server_.rules.date_off_s)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@functools.cache
def shared() -> GcsServer:
    """One for all tests of this process; each uses a prefix of its own."""
    return GcsServer()


@contextmanager
def serving(bucket: str = "drkit-test") -> Iterator[GcsServer]:
    server = GcsServer(bucket)
    try:
        yield server
    finally:
        server.close()
