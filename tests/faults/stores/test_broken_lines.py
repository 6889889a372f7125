"""Every kind of cloud store on servers that hang, drip, break off and storm. A call ends in the
right bytes or in an error that says so, within its deadline."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from raw_server import RawServer, Step, Talk, drips, hangs, resets
from raw_stores import B2, DATA, GCS, S3, Dialect, Opened, opened_on

from drkit.stores.interface import StoreUnreachable

SOON_S = 0.6


@pytest.fixture(params=[S3, B2, GCS], ids=lambda dialect: dialect.name)
def dialect(request: pytest.FixtureRequest) -> Dialect:
    kind: Dialect = request.param
    return kind


@pytest.fixture
def opened(dialect: Dialect) -> Iterator[Opened]:
    yield from opened_on(dialect)


def breaks_off(talk: Talk) -> None:
    talk.answer(200, DATA[: len(DATA) // 2], ETag='"x"', length=len(DATA))
    talk.close()


def resets_in_mid_body(talk: Talk) -> None:
    talk.answer(200, DATA[: len(DATA) // 2], length=len(DATA))
    talk.reset()


def test_S10_a_server_that_hangs_is_left_when_the_time_is_up(opened: Opened) -> None:
    store, server = opened(hangs, tries=1, total_s=SOON_S)
    for call in (
        lambda: store.get("a"),
        lambda: store.stat("a"),
        lambda: list(store.list("")),
        lambda: store.delete("a"),
        lambda: store.put("a", DATA, size_bytes=len(DATA)),
    ):
        with pytest.raises(StoreUnreachable, match="did not answer in time"):
            call()
    assert server.heard(5)
    assert len(server.talks) == 5


def test_S10_a_server_that_hangs_leaves_time_to_ask_again(dialect: Dialect, opened: Opened) -> None:
    store, server = opened(hangs, dialect.gives(DATA), total_s=2)
    assert store.get("a") == DATA
    assert server.connections == 2


def test_S10_a_slow_drip_is_cut_though_it_is_never_silent(opened: Opened) -> None:
    store, server = opened(drips, tries=1, total_s=SOON_S)
    with pytest.raises(StoreUnreachable, match="did not answer in time"):
        store.get("a")
    assert server.heard(1)
    assert len(server.talks) == 1


def test_S10_dripping_headers_are_cut(opened: Opened) -> None:
    def dripping_headers(talk: Talk) -> None:
        talk.send(b"HTTP/1.1 200 OK\r\n")
        while not talk.stopping.wait(0.02):
            talk.send(b"X-Y: z\r\n")

    store, _server = opened(dripping_headers, tries=1, total_s=SOON_S)
    with pytest.raises(StoreUnreachable):
        store.get("a")


def test_S10_a_server_that_takes_no_bytes_is_cut(opened: Opened) -> None:
    store, _server = opened(hangs, tries=1, total_s=SOON_S)
    large = bytes(20_000_000)  # more than the kernel buffers on the way
    with pytest.raises(StoreUnreachable, match="did not answer in time"):
        store.put("a", large, size_bytes=len(large))


def test_S10_whoever_waits_is_let_go_when_the_store_is_closed(opened: Opened) -> None:
    store, _server = opened(
        lambda talk: (store.close(), hangs(talk))[0],
        tries=1,
        total_s=SOON_S,
    )
    with pytest.raises(StoreUnreachable):
        store.get("a")


@pytest.mark.parametrize("trouble", [resets, resets_in_mid_body, breaks_off])
def test_a_connection_that_breaks_is_made_anew(
    dialect: Dialect, opened: Opened, trouble: Step
) -> None:
    store, server = opened(trouble, trouble, dialect.gives(DATA))
    assert store.get("a") == DATA
    assert server.connections == 3


@pytest.mark.parametrize("trouble", [resets_in_mid_body, breaks_off])
def test_a_truncated_body_is_never_given_as_the_object(opened: Opened, trouble: Step) -> None:
    store, server = opened(trouble)
    with pytest.raises(StoreUnreachable):
        store.get("a")
    with pytest.raises(StoreUnreachable):
        store.get("a", offset=0, length=len(DATA))
    assert len(server.talks) == 8


@pytest.mark.parametrize("span", ["bytes 0-49/20000", "bytes 50-98/20000", "bytes 50-*/9", ""])
def test_another_range_than_asked_for_is_an_error(opened: Opened, span: str) -> None:
    store, _server = opened(lambda talk: talk.answer(206, DATA[:50], Content_Range=span))
    with pytest.raises(StoreUnreachable):
        store.get("a", offset=50, length=50)


def test_a_storm_is_weathered_or_ends_in_an_error(dialect: Dialect, opened: Opened) -> None:
    for trouble in dialect.storms:
        store, server = opened(trouble, trouble, trouble, dialect.takes)
        store.put("a", DATA, size_bytes=len(DATA))
        assert len(server.talks) == 4
        assert len({talk.body for talk in server.talks}) == 1
        store, server = opened(trouble)
        with pytest.raises(StoreUnreachable):
            store.put("a", DATA, size_bytes=len(DATA))
        assert len(server.talks) == 4


def test_a_store_that_wants_to_be_left_alone_past_the_deadline_is_not_asked_again(
    dialect: Dialect, opened: Opened
) -> None:
    store, server = opened(dialect.busy(Retry_After="3600"))
    with pytest.raises(StoreUnreachable):
        store.get("a")
    assert len(server.talks) == 1


def test_bytes_that_are_always_kept_wrong_fail_the_upload(dialect: Dialect, opened: Opened) -> None:
    store, _server = opened(dialect.keeps_it_wrong)
    with pytest.raises(StoreUnreachable, match=r"another checksum|other bytes than were sent"):
        store.put("a", DATA, size_bytes=len(DATA))


def test_nothing_of_the_environment_reaches_the_store(
    dialect: Dialect, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = "http://127.0.0.1:1"
    for name in ("http_proxy", "https_proxy", "ALL_PROXY", "STORAGE_EMULATOR_HOST"):
        monkeypatch.setenv(name, nowhere)
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.setenv(name, nowhere)
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "another")
    monkeypatch.setenv("AWS_CA_BUNDLE", "/nowhere")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "50")
    monkeypatch.delenv("no_proxy", raising=False)
    store, server = opened(dialect.gives(DATA))
    assert store.get("a") == DATA
    (talk,) = server.talks
    assert "another" not in talk.headers.get("authorization", "")


def test_a_proxy_is_asked_in_place_of_the_server(dialect: Dialect, opened: Opened) -> None:
    proxy = RawServer(dialect.gives(DATA))
    try:
        store, server = opened(dialect.gives(b"direct"), proxy=proxy.url)
        assert store.get("a") == DATA
        assert server.talks == []
        (talk,) = proxy.talks
        assert talk.target.startswith(server.url)
        assert talk.headers["host"] == server.url.removeprefix("http://")
    finally:
        proxy.stop()


def test_many_threads_share_a_store_on_a_broken_line(dialect: Dialect, opened: Opened) -> None:
    turn = threading.Lock()
    count = [0]

    def sometimes(talk: Talk) -> None:
        with turn:
            count[0] += 1
            bad = count[0] % 3 == 0
        if bad:
            talk.reset()
        else:
            dialect.gives(DATA)(talk)

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
