"""Upload sessions of Cloud Storage: a stream in parts that breaks off, is forgotten, or is led
elsewhere."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator

import pytest
from raw_server import Talk
from raw_stores import GCS, Opened, crc32c, opened_on

from drkit.stores.gcs import upload as gcs_upload
from drkit.stores.interface import StoreRefused, StoreUnreachable


@pytest.fixture
def opened() -> Iterator[Opened]:
    yield from opened_on(GCS)


class Resumable:
    """An upload session on one connection after another; `cut` breaks off the n-th part halfway."""

    def __init__(self, *, cut: int = 0, elsewhere: bool = False, forget: bool = False) -> None:
        self.stored = b""
        self.calls: list[str] = []
        self.cut, self.elsewhere, self.forget = cut, elsewhere, forget
        self._parts = 0

    def __call__(self, talk: Talk) -> None:
        span = talk.headers.get("content-range", "")
        self.calls.append(f"{talk.method} {span}".strip())
        if talk.method == "POST":
            talk.read_body()
            host = "elsewhere.example" if self.elsewhere else talk.headers["host"]
            talk.answer(200, b"", Location=f"http://{host}/upload/session-secret")
        elif talk.method == "DELETE":
            talk.answer(499)
        elif span.startswith("bytes */"):
            if self.forget:
                talk.answer(404)
            else:
                self._incomplete(talk)
        else:
            self._part(talk, span)

    def _part(self, talk: Talk, span: str) -> None:
        self._parts += 1
        first, rest = span.removeprefix("bytes ").split("-")
        body = talk.read_body()
        assert int(first) == len(self.stored)
        if self._parts == self.cut:
            self.stored += body[: len(body) // 2]
            talk.reset()
            return
        self.stored += body
        if len(self.stored) < int(rest.split("/")[1]):
            self._incomplete(talk)
            return
        values = {"size": str(len(self.stored)), "crc32c": crc32c(self.stored), "generation": "3"}
        assert talk.headers["x-goog-hash"] == f"crc32c={crc32c(self.stored)}"
        talk.answer(200, json.dumps(values).encode())

    def _incomplete(self, talk: Talk) -> None:
        extra = {"Range": f"bytes=0-{len(self.stored) - 1}"} if self.stored else {}
        talk.answer(308, **extra)


LONG = random.Random(1).randbytes(5 << 18)


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """`LONG` is two parts and a half."""
    monkeypatch.setattr(gcs_upload, "PART_BYTES", 1 << 19)


def pieces() -> Iterator[bytes]:
    for at in range(0, len(LONG), 90_001):
        yield LONG[at : at + 90_001]


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("cut", [0, 1, 2, 3])
def test_a_long_stream_goes_in_parts_and_on_from_where_it_broke(opened: Opened, cut: int) -> None:
    server_side = Resumable(cut=cut)
    store, _server = opened(server_side)
    store.put("a", pieces(), size_bytes=len(LONG))
    assert server_side.stored == LONG
    assert not [call for call in server_side.calls if call.startswith("DELETE")]


@pytest.mark.usefixtures("small_parts")
def test_an_upload_session_that_is_forgotten_fails_and_is_given_up(opened: Opened) -> None:
    server_side = Resumable(cut=2, forget=True)
    store, _server = opened(server_side)
    with pytest.raises(StoreUnreachable, match="forgot the upload"):
        store.put("a", pieces(), size_bytes=len(LONG))
    assert server_side.calls[-1] == "DELETE"


@pytest.mark.usefixtures("small_parts")
def test_a_stream_of_another_length_is_given_up_before_its_last_part(opened: Opened) -> None:
    for size_bytes in (len(LONG) - 1, len(LONG) + 1):
        server_side = Resumable()
        store, _server = opened(server_side)
        with pytest.raises(StoreRefused):
            store.put("a", pieces(), size_bytes=size_bytes)
        assert server_side.calls[-1] == "DELETE"
        assert len(server_side.stored) < len(LONG) - 1


@pytest.mark.usefixtures("small_parts")
def test_an_upload_is_not_led_to_another_server(opened: Opened) -> None:
    store, server = opened(Resumable(elsewhere=True))
    with pytest.raises(StoreRefused, match="another server"):
        store.put("a", pieces(), size_bytes=len(LONG))
    assert len(server.talks) == 1
