"""A small server with vLLM's routes that hangs, drips, lies, or answers for somebody else."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from drkit.compute.interface import Endpoint

MODEL = "Qwen3-4B"


class Server:
    """vLLM's routes; the fields are what is wrong with it."""

    def __init__(self) -> None:
        self.health = 200
        self.models = [MODEL]
        self.answer: dict[str, object] = {"model": MODEL, "usage": {"completion_tokens": 1}}
        self.status = 200
        self.hangs = False
        self.drips = False
        self.tokens: int | None = 5
        self.tokens_per_read = 0
        self.tokens_per_answer = 1
        self.asked: list[dict[str, object]] = []
        self.headers: list[dict[str, str]] = []

    def reply(self, path: str, body: dict[str, object]) -> tuple[int, bytes]:
        match path:
            case "/health":
                return self.health, b""
            case "/v1/models":
                return 200, json.dumps({"data": [{"id": each} for each in self.models]}).encode()
            case "/metrics":
                if self.tokens is None:
                    return 404, b""
                self.tokens += self.tokens_per_read
                text = (
                    f'vllm:generation_tokens_total{{engine="0",model_name="a b"}} {self.tokens}.0\n'
                )
                return 200, text.encode()
            case "/v1/completions":
                self.asked.append(body)
                if self.hangs:
                    time.sleep(2)
                elif self.status == 200 and self.tokens is not None:
                    self.tokens += self.tokens_per_answer
                return self.status, json.dumps(self.answer).encode()
        return 404, b""


@contextmanager
def serving(server: Server) -> Iterator[Endpoint]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else {}
            server.headers.append(dict(self.headers))
            status, content = server.reply(self.path, body)
            self.send_response(status)
            if server.drips and self.path == "/v1/completions":
                self.send_header("Content-Length", "1000")
                self.end_headers()
                for _ in range(40):
                    self.wfile.write(b" ")
                    time.sleep(0.05)
                return
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            """A test's server says nothing."""

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """A prober that hung up is no error here."""

    http = Quiet(("127.0.0.1", 0), Handler)
    threading.Thread(target=http.serve_forever, args=(0.05,), daemon=True).start()
    yield Endpoint("http", "127.0.0.1", http.server_address[1])
    http.shutdown()
    http.server_close()
