"""What an upload to Cloud Storage costs the client: drkit's one request beside Google's helper.

    python tests/tools/gcs_upload_cost.py [--mib 32] [--count 32] [--threads 4]

Prints CPU seconds per GiB and peak memory of the client, each way in a process of its own, against
a server on loopback that takes everything and answers with the checksum. Medians of three runs.
"""

from __future__ import annotations

import argparse
import base64
import json
import multiprocessing
import os
import resource
import shutil
import ssl
import statistics
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import google_crc32c
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))


class _Sink(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        kind = "resumable" if "uploadType=resumable" in self.path else "multipart"
        size = int(self.headers.get("Content-Length") or 0)
        if kind == "resumable":
            self.rfile.read(size)
            self._answer(b"{}", Location=f"https://{self.headers['Host']}/upload/session")
            return
        head = self.rfile.read1(4096)  # type: ignore[attr-defined]
        left = size - len(head)
        while left:
            left -= len(self.rfile.read(min(left, 1 << 20)))
        sent = json.loads(head[head.index(b"{") : head.index(b"}") + 1])
        boundary = head.partition(b"\r\n")[0]
        framing = head.index(b"octet-stream\r\n\r\n") + 16 + len(boundary) + 6
        self._stored(size - framing, sent.get("crc32c"))

    def do_PUT(self) -> None:
        crc, left = 0, int(self.headers["Content-Length"])
        size = left
        while left:
            piece = self.rfile.read(min(left, 1 << 20))
            crc = google_crc32c.extend(crc, piece)
            left -= len(piece)
        self._stored(size, base64.b64encode(crc.to_bytes(4, "big")).decode())

    def _stored(self, size: int, crc32c: str | None) -> None:
        values = {"name": "x", "size": str(size), "crc32c": crc32c, "generation": "1"}
        self._answer(json.dumps(values).encode())

    def _answer(self, body: bytes, **headers: str) -> None:
        self.send_response(200)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def _serve(ready: Any, certificate: str) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Sink)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    ready.send(server.server_address[1])
    server.serve_forever()


def _certificate(folder: Path) -> Path:
    """A key and a certificate of 127.0.0.1 that signs itself, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    alternatives = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(alternatives, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    path = folder / "server.pem"
    path.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(pem)
    )
    return path


def _drkit(url: str, ca: str) -> Any:
    from drkit.config.stores import GcsStore
    from drkit.secrets.memory import MemorySecrets
    from drkit.stores.catalog import open_store

    config = GcsStore(kind="gcs", role="backup", bucket="bucket", endpoint=url, ca_file=ca)
    store = open_store("gcs", config, MemorySecrets())
    return lambda name, data: store.put(name, data, size_bytes=len(data))


def _helper(url: str, ca: str) -> Any:
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import storage

    client = storage.Client(
        project="p", credentials=AnonymousCredentials(), client_options={"api_endpoint": url}
    )
    os.environ["REQUESTS_CA_BUNDLE"] = ca
    bucket = client.bucket("bucket")
    return lambda name, data: bucket.blob(name).upload_from_string(data)


def _client(way: str, url: str, ca: str, mib: int, count: int, threads: int, out: Any) -> None:
    put = {"drkit": _drkit, "helper": _helper}[way](url, ca)
    data = os.urandom(mib << 20)
    put("warm", data)
    before = resource.getrusage(resource.RUSAGE_SELF)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda number: put(f"o{number}", data), range(count)))
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    out.send((cpu_s / (mib * count / 1024), after.ru_maxrss / 1024))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--mib", type=int, default=32)
    parser.add_argument("--count", type=int, default=32)
    parser.add_argument("--threads", type=int, default=4)
    asked = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    ca = str(_certificate(Path(tempfile.mkdtemp(dir="/dev/shm"))))
    server = context.Process(target=_serve, args=(there, ca), daemon=True)
    server.start()
    url = f"https://127.0.0.1:{here.recv()}"
    runs: dict[str, list[tuple[float, float]]] = {"drkit": [], "helper": []}
    for _ in range(3):
        for way, seen in runs.items():
            mine, its = context.Pipe()
            args = (way, url, ca, asked.mib, asked.count, asked.threads, its)
            client = context.Process(target=_client, args=args)
            client.start()
            seen.append(mine.recv())
            client.join()
    for way, seen in runs.items():
        cpu_s, mib = (statistics.median(column) for column in zip(*seen, strict=True))
        print(f"{way:7} {cpu_s:5.2f} CPU s/GiB  {mib:5.0f} MiB peak")
    server.kill()
    shutil.rmtree(Path(ca).parent)


if __name__ == "__main__":
    main()
