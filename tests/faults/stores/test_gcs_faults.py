"""Cloud Storage on servers that hang, drip, break off, refuse and lie. A call ends in the right
bytes or in an error that says so, within its deadline."""

from __future__ import annotations

import base64
import json
import random
import threading
from collections.abc import Callable, Iterator
from typing import Any

import google_crc32c
import pytest
from gcs_server import BRISK
from raw_server import RawServer, Step, Talk, drips, hangs, resets

from drkit.clock import SystemClock
from drkit.config.stores import GcsStore as GcsConfig
from drkit.http_wire import Route
from drkit.io_policy import Deadline, Retry
from drkit.stores import gcs_upload
from drkit.stores.gcs import GcsStore, settings_of
from drkit.stores.interface import (
    ObjectMissing,
    Retained,
    StoreRefused,
    StoreUnreachable,
    VersionChanged,
)

DATA = b"what the store holds" * 1000
Opened = Callable[..., tuple[GcsStore, RawServer]]


@pytest.fixture
def opened() -> Iterator[Opened]:
    servers: list[RawServer] = []
    stores: list[GcsStore] = []

    def open_on(*steps: Step, tries: int = 4, **fields: Any) -> tuple[GcsStore, RawServer]:
        server = RawServer(*steps)
        servers.append(server)
        values = {"kind": "gcs", "role": "backup", "bucket": "b", "endpoint": server.url}
        config = GcsConfig.model_validate({**values, **fields})
        store = GcsStore(
            "gcs",
            settings_of(config),
            None,
            Route(proxy=config.proxy),
            SystemClock(),
            deadline=Deadline(connect_s=1, total_s=0.6, min_bytes_per_s=50_000),
            retry=Retry(tries=tries, first_s=BRISK.first_s, most_s=BRISK.most_s),
        )
        stores.append(store)
        return store, server

    yield open_on
    for store in stores:
        store.close()
    for server in servers:
        server.stop()


def crc32c(data: bytes) -> str:
    return base64.b64encode(google_crc32c.value(data).to_bytes(4, "big")).decode()


def says(status: int, reason: str = "", message: str = "", **headers: str) -> Step:
    error = {"code": status, "message": message, "errors": [{"reason": reason}]}

    def step(talk: Talk) -> None:
        talk.read_body()
        talk.answer(status, json.dumps({"error": error}).encode(), **headers)

    return step


def gives(data: bytes, said: str | None = None) -> Step:
    return lambda talk: talk.answer(200, data, X_Goog_Hash=f"crc32c={said or crc32c(data)}")


def takes(talk: Talk) -> None:
    """An upload as it should be."""
    body = talk.read_body()
    sent = json.loads(body.split(b"\r\n\r\n", 2)[1].partition(b"\r\n")[0])
    size = len(body.split(b"\r\n\r\n", 2)[2].rpartition(b"\r\n--")[0])
    values = {"name": "a", "size": str(size), "crc32c": sent["crc32c"], "generation": "7"}
    talk.answer(200, json.dumps(values).encode())


def keeps_it_wrong(talk: Talk) -> None:
    talk.read_body()
    if talk.method in ("POST", "GET"):
        values = {"name": "a", "size": str(len(DATA)), "crc32c": "AAAAAA==", "generation": "7"}
        talk.answer(200, json.dumps(values).encode())
    else:
        talk.answer(204)


def breaks_off(talk: Talk) -> None:
    talk.answer(200, DATA[: len(DATA) // 2], length=len(DATA))
    talk.close()


def resets_in_mid_body(talk: Talk) -> None:
    talk.answer(200, DATA[: len(DATA) // 2], length=len(DATA))
    talk.reset()


def test_S10_a_server_that_hangs_is_left_when_the_time_is_up(opened: Opened) -> None:
    store, server = opened(hangs, tries=1)
    for call in (
        lambda: store.get("a"),
        lambda: store.stat("a"),
        lambda: list(store.list("")),
        lambda: store.delete("a"),
        lambda: store.put("a", DATA, size_bytes=len(DATA)),
    ):
        with pytest.raises(StoreUnreachable, match="did not answer in time"):
            call()
    assert len(server.talks) == 5


def test_S10_a_server_that_hangs_leaves_time_to_ask_again(opened: Opened) -> None:
    store, server = opened(hangs, gives(DATA))
    assert store.get("a") == DATA
    assert server.connections == 2


def test_S10_a_slow_drip_is_cut_though_it_is_never_silent(opened: Opened) -> None:
    store, server = opened(drips, tries=1)
    with pytest.raises(StoreUnreachable, match="did not answer in time"):
        store.get("a")
    assert len(server.talks) == 1


def test_S10_a_server_that_takes_no_bytes_is_cut(opened: Opened) -> None:
    store, _server = opened(hangs, tries=1)
    large = bytes(20_000_000)  # more than the kernel buffers on the way
    with pytest.raises(StoreUnreachable, match="did not answer in time"):
        store.put("a", large, size_bytes=len(large))


@pytest.mark.parametrize("trouble", [resets, resets_in_mid_body, breaks_off])
def test_a_connection_that_breaks_is_made_anew(opened: Opened, trouble: Step) -> None:
    store, server = opened(trouble, trouble, gives(DATA))
    assert store.get("a") == DATA
    assert server.connections == 3


@pytest.mark.parametrize("trouble", [resets_in_mid_body, breaks_off])
def test_a_truncated_body_is_never_given_as_the_object(opened: Opened, trouble: Step) -> None:
    store, server = opened(trouble)
    with pytest.raises(StoreUnreachable):
        store.get("a")
    assert len(server.talks) == 4


def test_a_wrong_body_of_the_right_length_is_read_again(opened: Opened) -> None:
    wrong = bytes([DATA[0] ^ 1]) + DATA[1:]
    store, server = opened(gives(wrong, said=crc32c(DATA)), gives(DATA))
    assert store.get("a") == DATA
    assert len(server.talks) == 2


@pytest.mark.parametrize("span", ["bytes 0-49/20000", "bytes 50-98/20000", "bytes 50-*/9", ""])
def test_another_range_than_asked_for_is_an_error(opened: Opened, span: str) -> None:
    store, _server = opened(lambda talk: talk.answer(206, DATA[:50], Content_Range=span))
    with pytest.raises(StoreUnreachable):
        store.get("a", offset=50, length=50)


@pytest.mark.parametrize(
    "trouble",
    [
        says(429, "rateLimitExceeded"),
        says(403, "userRateLimitExceeded"),
        says(500, "backendError"),
        says(503, "backendError"),
        says(408),
    ],
)
def test_a_storm_is_weathered_or_ends_in_an_error(opened: Opened, trouble: Step) -> None:
    store, server = opened(trouble, trouble, trouble, takes)
    store.put("a", DATA, size_bytes=len(DATA))
    assert len({talk.body for talk in server.talks}) == 1
    store, server = opened(trouble)
    with pytest.raises(StoreUnreachable):
        store.put("a", DATA, size_bytes=len(DATA))
    assert len(server.talks) == 4


def test_a_store_that_wants_to_be_left_alone_past_the_deadline_is_not_asked_again(
    opened: Opened,
) -> None:
    store, server = opened(says(503, Retry_After="3600"))
    with pytest.raises(StoreUnreachable):
        store.get("a")
    assert len(server.talks) == 1


def test_bytes_that_are_kept_wrong_are_removed_and_sent_again(opened: Opened) -> None:
    store, server = opened(*[keeps_it_wrong] * 3, takes)
    store.put("a", DATA, size_bytes=len(DATA))
    assert [talk.method for talk in server.talks] == ["POST", "GET", "DELETE", "POST"]
    assert "ifGenerationMatch=7" in server.talks[2].target


def test_an_answer_that_came_bent_is_looked_at_again_before_anything_is_removed(
    opened: Opened,
) -> None:
    def shows(talk: Talk) -> None:
        values = {"name": "a", "size": str(len(DATA)), "crc32c": crc32c(DATA), "generation": "7"}
        talk.answer(200, json.dumps(values).encode())

    store, server = opened(keeps_it_wrong, shows)
    store.put("a", DATA, size_bytes=len(DATA))
    assert [talk.method for talk in server.talks] == ["POST", "GET"]


def test_bytes_that_are_always_kept_wrong_fail_the_upload(opened: Opened) -> None:
    store, server = opened(keeps_it_wrong)
    with pytest.raises(StoreUnreachable, match="other bytes than were sent"):
        store.put("a", DATA, size_bytes=len(DATA))
    assert server.talks[-1].method == "DELETE"


@pytest.mark.parametrize(
    ("status", "reason", "message", "kind"),
    [
        (401, "authError", "Invalid Credentials", StoreRefused),
        (403, "forbidden", "no storage.objects.get access", StoreRefused),
        (404, "notFound", "No such object: b/a", ObjectMissing),
        (404, "notFound", "The specified bucket does not exist.", StoreRefused),
        (403, "retentionPolicyNotMet", "subject to retention", Retained),
        (301, "", "elsewhere", StoreRefused),
    ],
)
def test_a_refusal_is_final_and_says_what_to_do(
    opened: Opened, status: int, reason: str, message: str, kind: type[Exception]
) -> None:
    store, _server = opened(says(status, reason, message))
    with pytest.raises(kind) as caught:
        store.stat("a")
    assert type(caught.value) is kind
    assert caught.value.hint


def test_a_put_whose_answer_was_lost_is_done_though_the_object_is_now_retained(
    opened: Opened,
) -> None:
    def shows(talk: Talk) -> None:
        values = {"size": str(len(DATA)), "crc32c": crc32c(DATA), "generation": "7"}
        talk.answer(200, json.dumps(values).encode())

    refuses = says(403, "retentionPolicyNotMet")
    store, server = opened(resets, refuses, shows)
    store.put("a", DATA, size_bytes=len(DATA))
    assert len(server.talks) == 3
    other, _server = opened(refuses, shows)
    with pytest.raises(Retained):
        other.put("a", DATA[::-1], size_bytes=len(DATA))


def test_a_create_whose_answer_was_lost_knows_its_own_object(opened: Opened) -> None:
    writers: list[str] = []

    def takes_and_resets(talk: Talk) -> None:
        body = talk.read_body()
        sent = json.loads(body.split(b"\r\n\r\n", 2)[1].partition(b"\r\n")[0])
        writers.append(sent["metadata"]["drkit-writer"])
        talk.reset()

    def shows(talk: Talk) -> None:
        values = {"generation": "9", "metadata": {"drkit-writer": writers[0]}}
        talk.answer(200, json.dumps(values).encode())

    store, server = opened(takes_and_resets, says(412, "conditionNotMet"), shows)
    assert store.put_if_absent("lease", b"mine") == "9"
    assert "ifGenerationMatch=0" in server.talks[0].target


def test_a_create_that_another_writer_won_is_told_so(opened: Opened) -> None:
    def theirs(talk: Talk) -> None:
        values = {"generation": "9", "metadata": {"drkit-writer": "another"}}
        talk.answer(200, json.dumps(values).encode())

    store, _server = opened(resets, says(412, "conditionNotMet"), theirs)
    with pytest.raises(VersionChanged):
        store.put_if_absent("lease", b"mine")


def page(*names: str, token: str | None = None) -> Step:
    values: dict[str, Any] = {"items": [{"name": name, "size": "1"} for name in names]}
    if token:
        values["nextPageToken"] = token
    return lambda talk: talk.answer(200, json.dumps(values).encode())


def test_hostile_names_in_a_list_are_passed_over(opened: Opened) -> None:
    names = ("here/../../etc/passwd", "here//x", "here/a", "here/", "here/a\nb")
    store, _server = opened(page(*names), prefix="here")
    assert [info.name for info in store.list("")] == ["a"]


@pytest.mark.parametrize(
    "answer",
    [
        page("elsewhere/b"),
        lambda talk: talk.answer(200, b'{"items": [{"name": "here/a", "size": "1"}'),
        lambda talk: talk.answer(200, b'{"items": [{"name": "here/a", "size": "-1"}]}'),
        lambda talk: talk.answer(200, b'{"items": {"name": "here/a"}}'),
        lambda talk: talk.answer(200, b"[]"),
        page("here/a", token="again"),
    ],
)
def test_a_list_that_makes_no_sense_is_an_error_and_not_a_short_list(
    opened: Opened, answer: Step
) -> None:
    store, _server = opened(answer, prefix="here")
    with pytest.raises(StoreUnreachable):
        list(store.list(""))


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


def test_nothing_of_the_environment_reaches_the_store(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "STORAGE_EMULATOR_HOST", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    store, server = opened(gives(DATA))
    assert store.get("a") == DATA
    assert len(server.talks) == 1


def test_a_proxy_is_asked_in_place_of_the_server(opened: Opened) -> None:
    proxy = RawServer(gives(DATA))
    try:
        store, server = opened(gives(b"direct"), proxy=proxy.url)
        assert store.get("a") == DATA
        assert server.talks == []
    finally:
        proxy.stop()


def test_many_threads_share_a_store_on_a_broken_line(opened: Opened) -> None:
    turn = threading.Lock()
    count = [0]

    def sometimes(talk: Talk) -> None:
        with turn:
            count[0] += 1
            bad = count[0] % 3 == 0
        if bad:
            talk.reset()
        else:
            gives(DATA)(talk)

    store, _server = opened(sometimes, tries=10)
    wrong: list[object] = []

    def read() -> None:
        for _ in range(5):
            try:
                if store.get("a") != DATA:
                    wrong.append("bytes")
            except StoreUnreachable as error:
                wrong.append(error)

    threads = [threading.Thread(target=read) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert wrong == []
