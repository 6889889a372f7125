"""S3 on servers that hang, drip, break off, refuse and lie. A call ends in the right bytes or in
an error that says so, within its deadline."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from raw_server import RawServer, Step, Talk, drips, hangs, resets, says
from s3_servers import b2_store, impatient, s3_store

from drkit.stores.interface import (
    ObjectMissing,
    Store,
    StoreRefused,
    StoreUnreachable,
    VersionChanged,
)

DATA = b"what the store holds" * 1000
STORMS = [(429, "TooManyRequests"), (500, "InternalError"), (503, "SlowDown")]

Opened = Callable[..., tuple[Store, RawServer]]


@pytest.fixture
def opened() -> Iterator[Opened]:
    servers: list[RawServer] = []
    stores: list[Store] = []

    def open_on(
        *steps: Step, tries: int = 4, b2: bool = False, total_s: float = 20, **fields: object
    ) -> tuple:
        server = RawServer(*steps)
        servers.append(server)
        pace = impatient(total_s=total_s, min_bytes_per_s=50_000, tries=tries)
        make = b2_store if b2 else s3_store
        store = make(server.url, "bucket", pace=pace, **fields)
        stores.append(store)
        return store, server

    yield open_on
    for store in stores:
        store.close()
    for server in servers:
        server.stop()


def gives(data: bytes) -> Step:
    return lambda talk: talk.answer(200, data, ETag='"x"')


def takes(talk: Talk) -> None:
    """A PUT as it should be."""
    body = talk.read_body()
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    etag = f'"{hashlib.md5(body).hexdigest()}"'
    talk.answer(200, ETag=etag, x_amz_checksum_sha256=digest)


def keeps_it_wrong(talk: Talk) -> None:
    body = bytearray(talk.read_body())
    body[0] ^= 1
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    talk.answer(200, ETag=f'"{hashlib.md5(body).hexdigest()}"', x_amz_checksum_sha256=digest)


def breaks_off(talk: Talk) -> None:
    talk.answer(200, DATA[: len(DATA) // 2], ETag='"x"', length=len(DATA))
    talk.close()


def resets_in_mid_body(talk: Talk) -> None:
    talk.answer(200, DATA[: len(DATA) // 2], length=len(DATA))
    talk.reset()


def test_S10_a_server_that_hangs_is_left_when_the_time_is_up(opened: Opened) -> None:
    store, server = opened(hangs, tries=1, total_s=0.6)
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
    store, server = opened(hangs, gives(DATA), total_s=2)
    assert store.get("a") == DATA
    assert server.connections == 2


def test_S10_a_slow_drip_is_cut_though_it_is_never_silent(opened: Opened) -> None:
    store, server = opened(drips, tries=1, total_s=0.6)
    with pytest.raises(StoreUnreachable, match="did not answer in time"):
        store.get("a")
    assert len(server.talks) == 1


def test_S10_dripping_headers_are_cut(opened: Opened) -> None:
    def dripping_headers(talk: Talk) -> None:
        talk.send(b"HTTP/1.1 200 OK\r\n")
        while not talk.stopping.wait(0.02):
            talk.send(b"X-Y: z\r\n")

    store, _server = opened(dripping_headers, tries=1, total_s=0.6)
    with pytest.raises(StoreUnreachable):
        store.get("a")


def test_S10_a_server_that_takes_no_bytes_is_cut(opened: Opened) -> None:
    store, _server = opened(hangs, tries=1, total_s=0.6)
    large = bytes(20_000_000)  # more than the kernel buffers on the way
    with pytest.raises(StoreUnreachable, match="did not answer in time"):
        store.put("a", large, size_bytes=len(large))


def test_S10_whoever_waits_is_let_go_when_the_store_is_closed(opened: Opened) -> None:
    store, _server = opened(
        lambda talk: (store.close(), hangs(talk))[0],
        tries=1,
        total_s=0.6,
    )
    with pytest.raises(StoreUnreachable):
        store.get("a")


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
    with pytest.raises(StoreUnreachable):
        store.get("a", offset=0, length=len(DATA))
    assert len(server.talks) == 8


def test_fewer_bytes_than_asked_for_are_an_error_even_if_the_server_is_content(
    opened: Opened,
) -> None:
    store, _server = opened(
        lambda talk: talk.answer(206, DATA[:50], Content_Range=f"bytes 0-49/{len(DATA)}")
    )
    with pytest.raises(StoreUnreachable, match="too short"):
        store.get("a", length=100)


def test_another_range_than_asked_for_is_an_error(opened: Opened) -> None:
    store, _server = opened(
        lambda talk: talk.answer(206, DATA[:50], Content_Range=f"bytes 0-49/{len(DATA)}")
    )
    with pytest.raises(StoreUnreachable, match="another offset"):
        store.get("a", offset=50, length=50)


def test_the_whole_object_in_place_of_a_range_is_refused_unread(opened: Opened) -> None:
    store, _server = opened(lambda talk: talk.answer(200, DATA[:10], length=10**12))
    with pytest.raises(StoreRefused, match="came whole"):
        store.get("a", offset=5, length=10)


def test_an_object_that_claims_to_fill_the_memory_is_refused_unread(opened: Opened) -> None:
    store, server = opened(lambda talk: talk.answer(200, DATA[:10], length=10**12))
    with pytest.raises(StoreRefused, match="too many to read at once"):
        store.get("a")
    assert len(server.talks) == 1


@pytest.mark.parametrize(
    ("status", "code"), [(429, "TooManyRequests"), (500, "InternalError"), (503, "SlowDown")]
)
def test_a_storm_that_passes_is_weathered(opened: Opened, status: int, code: str) -> None:
    store, server = opened(*[says(status, code)] * 3, takes)
    store.put("a", DATA, size_bytes=len(DATA))
    assert [talk.body for talk in server.talks] == [DATA] * 4


@pytest.mark.parametrize(
    ("status", "code"), [(429, "TooManyRequests"), (500, "InternalError"), (503, "SlowDown")]
)
def test_a_storm_that_does_not_pass_ends_in_an_error(
    opened: Opened, status: int, code: str
) -> None:
    store, server = opened(says(status, code))
    with pytest.raises(StoreUnreachable, match=code):
        store.put("a", DATA, size_bytes=len(DATA))
    assert len(server.talks) == 4


def test_a_store_that_wants_to_be_left_alone_past_the_deadline_is_not_asked_again(
    opened: Opened,
) -> None:
    store, server = opened(says(503, "SlowDown", Retry_After="3600"))
    with pytest.raises(StoreUnreachable, match="SlowDown"):
        store.get("a")
    assert len(server.talks) == 1


@pytest.mark.parametrize("checksum", ["sha256", "md5"])
def test_bytes_that_arrive_wrong_are_sent_again(opened: Opened, checksum: str) -> None:
    store, server = opened(keeps_it_wrong, takes, checksum=checksum)
    store.put("a", DATA, size_bytes=len(DATA))
    assert len(server.talks) == 2


@pytest.mark.parametrize("checksum", ["sha256", "md5"])
def test_bytes_that_are_kept_wrong_fail_the_upload(opened: Opened, checksum: str) -> None:
    store, _server = opened(keeps_it_wrong, checksum=checksum)
    with pytest.raises(StoreUnreachable, match="another checksum"):
        store.put("a", DATA, size_bytes=len(DATA))


def test_etags_that_are_no_md5_are_not_compared_where_it_is_said_so(opened: Opened) -> None:
    store, _server = opened(
        lambda talk: (talk.read_body(), talk.answer(200, ETag='"' + "0" * 32 + '"'))[1],
        etag_is_md5=False,
    )
    store.put("a", DATA, size_bytes=len(DATA))


def test_each_upload_names_its_checksum_and_nothing_that_b2_refuses(opened: Opened) -> None:
    for fields in ({"checksum": "sha256"}, {"checksum": "md5"}, {"b2": True}):
        store, server = opened(takes, **fields)
        store.put("a", [DATA[:5], DATA[5:]], size_bytes=len(DATA))
        sent = server.talks[0].headers
        if fields.get("checksum") == "sha256":
            wanted = base64.b64encode(hashlib.sha256(DATA).digest()).decode()
            assert sent["x-amz-checksum-sha256"] == wanted
        else:
            assert sent["content-md5"] == base64.b64encode(hashlib.md5(DATA).digest()).decode()
            assert not [name for name in sent if name.startswith(("x-amz-checksum", "x-amz-sdk"))]
        assert not {"expect", "transfer-encoding", "content-encoding", "x-amz-trailer"} & set(sent)
        assert server.talks[0].body == DATA


def test_whoever_watches_the_pieces_sees_them_as_they_are_sent(opened: Opened) -> None:
    class Watched(Sequence[bytes]):
        pieces = (DATA[:7], DATA[7:])
        rounds: list[int] = []

        def __len__(self) -> int:
            return len(self.pieces)

        def __getitem__(self, at: Any) -> Any:
            return self.pieces[at]

        def __iter__(self) -> Iterator[bytes]:
            self.rounds.append(len(server.talks))
            return iter(self.pieces)

    store, server = opened(says(503, "SlowDown"), takes)
    watched = Watched()
    store.put("a", watched, size_bytes=len(DATA))
    assert [talk.body for talk in server.talks] == [DATA, DATA]
    assert len(watched.rounds) == 2


def test_a_refusal_in_the_middle_of_an_upload_is_heard(opened: Opened) -> None:
    def refuses_at_once(talk: Talk) -> None:
        text = b"<Error><Code>AccessDenied</Code></Error>"
        talk.answer(403, text, Connection="close")
        talk.read_body()  # as servers do, lest the reset overtakes the answer
        talk.close()

    store, server = opened(refuses_at_once)
    large = bytes(5_000_000)
    with pytest.raises(StoreRefused, match="AccessDenied"):
        store.put("a", large, size_bytes=len(large))
    assert len(server.talks) == 1


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (403, "AccessDenied", StoreRefused),
        (403, "SignatureDoesNotMatch", StoreRefused),
        (403, "RequestTimeTooSkewed", StoreRefused),
        (404, "NoSuchKey", ObjectMissing),
        (404, "NoSuchBucket", StoreRefused),
        (301, "PermanentRedirect", StoreRefused),
        (501, "NotImplemented", StoreRefused),
    ],
)
def test_a_refusal_is_final_and_says_what_to_do(
    opened: Opened, status: int, code: str, kind: type[Exception]
) -> None:
    store, server = opened(says(status, code))
    with pytest.raises(kind) as caught:
        store.get("a")
    assert type(caught.value) is kind
    assert caught.value.hint
    assert len(server.talks) == 1


def test_b2_is_asked_again_after_a_501(opened: Opened) -> None:
    store, _server = opened(says(501, "NotImplemented"), gives(DATA), b2=True)
    assert store.get("a") == DATA


def test_a_success_that_is_an_error_inside_is_no_success(opened: Opened) -> None:
    """CompleteMultipartUpload may say 200 and then fail."""

    def talks(talk: Talk) -> None:
        body = talk.read_body()
        if talk.method == "GET":
            talk.error(501, "NotImplemented")
        elif "uploads" in talk.target:
            xml = "<UploadId>1</UploadId>"
            talk.answer(200, f"<R><Bucket>b</Bucket><Key>k</Key>{xml}</R>".encode())
        elif talk.method == "PUT":
            talk.answer(200, ETag=f'"{hashlib.md5(body).hexdigest()}"')
        elif talk.method == "POST":
            talk.answer(200, b"<Error><Code>AccessDenied</Code><Message>x</Message></Error>")
        else:
            talk.answer(204)

    store, server = opened(talks)
    with pytest.raises((StoreRefused, StoreUnreachable)):
        store.put("a", iter([bytes(20_000_000)]), size_bytes=20_000_000)
    assert server.talks[-1].method == "DELETE"


@pytest.mark.parametrize("mine", [True, False])
def test_parts_that_became_an_object_though_the_answer_was_lost_are_a_success(
    opened: Opened, mine: bool
) -> None:
    marks: list[str] = []

    def talks(talk: Talk) -> None:
        body = talk.read_body()
        if talk.method == "GET":
            talk.error(501, "NotImplemented")  # a list of what was left
        elif "uploads" in talk.target:
            marks.append(talk.headers["x-amz-meta-drkit-writer"])
            text = b"<R><Bucket>b</Bucket><Key>k</Key><UploadId>1</UploadId></R>"
            talk.answer(200, text)
        elif talk.method == "PUT":
            talk.answer(200, ETag=f'"{hashlib.md5(body).hexdigest()}"')
        elif talk.method == "POST" and "POST" not in [before.method for before in done]:
            done.append(talk)
            talk.reset()
        elif talk.method == "POST":
            talk.error(404, "NoSuchUpload")
        elif talk.method == "HEAD":
            talk.answer(200, ETag='"v"', x_amz_meta_drkit_writer=marks[0] if mine else "another")
        else:
            talk.answer(204)

    done: list[Talk] = []
    store, server = opened(talks)
    large = bytes(20_000_000)
    if mine:
        store.put("a", iter([large]), size_bytes=len(large))
    else:
        with pytest.raises(ObjectMissing):
            store.put("a", iter([large]), size_bytes=len(large))
    assert len({talk.target for talk in server.talks if talk.method == "PUT"}) == 2


def page(*names: str, token: str | None = None) -> bytes:
    contents = "".join(
        f"<Contents><Key>{name}</Key><Size>1</Size><LastModified>2026-01-01T00:00:00Z"
        f"</LastModified><ETag>x</ETag></Contents>"
        for name in names
    )
    more = f"<IsTruncated>true</IsTruncated><NextContinuationToken>{token}</NextContinuationToken>"
    contents += "<EncodingType>url</EncodingType>"
    return f"<ListBucketResult>{contents}{more if token else ''}</ListBucketResult>".encode()


def test_hostile_names_in_a_list_are_passed_over(opened: Opened) -> None:
    names = ("here/../../etc/passwd", "here//x", "here/a", "elsewhere/b", "here/", "here/a%0Ab")
    store, _server = opened(lambda talk: talk.answer(200, page(*names)), prefix="here")
    assert [info.name for info in store.list("")] == ["a"]


def test_a_list_that_turns_in_a_circle_is_left(opened: Opened) -> None:
    store, server = opened(lambda talk: talk.answer(200, page("a", token="again")))
    with pytest.raises(StoreUnreachable, match="does not go on"):
        list(store.list(""))
    assert len(server.talks) == 2


def test_a_list_that_is_cut_off_is_an_error_and_not_a_short_list(opened: Opened) -> None:
    whole = page("a", "b", "c")
    store, _server = opened(lambda talk: talk.answer(200, whole[: len(whole) // 2]))
    with pytest.raises(StoreUnreachable):
        list(store.list(""))


def test_a_create_whose_answer_was_lost_knows_its_own_object(opened: Opened) -> None:
    marks: list[str] = []

    def takes_and_resets(talk: Talk) -> None:
        talk.read_body()
        marks.append(talk.headers["x-amz-meta-drkit-writer"])
        talk.reset()

    def shows(talk: Talk) -> None:
        talk.send(
            b'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: "v1"\r\n'
            + f"x-amz-meta-drkit-writer: {marks[0]}\r\n\r\n".encode()
        )

    store, server = opened(takes_and_resets, says(412, "PreconditionFailed"), shows)
    assert store.put_if_absent("lease", b"mine!") == '"v1"'  # type: ignore[attr-defined]
    assert [talk.method for talk in server.talks] == ["PUT", "PUT", "HEAD"]


def test_a_create_that_another_writer_won_is_told_so(opened: Opened) -> None:
    def theirs(talk: Talk) -> None:
        talk.send(
            b'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: "v1"\r\n'
            b"x-amz-meta-drkit-writer: another\r\n\r\n"
        )

    store, _server = opened(resets, says(412, "PreconditionFailed"), theirs)
    with pytest.raises(VersionChanged):
        store.put_if_absent("lease", b"mine!")  # type: ignore[attr-defined]


def test_a_proxy_is_asked_in_place_of_the_server(opened: Opened) -> None:
    proxy = RawServer(gives(DATA))
    try:
        store, server = opened(gives(b"direct"), proxy=proxy.url)
        assert store.get("a") == DATA
        assert server.talks == []
        assert proxy.talks[0].target == f"{server.url}/bucket/a"
        assert proxy.talks[0].headers["host"] == server.url.removeprefix("http://")
    finally:
        proxy.stop()


def test_nothing_of_the_environment_reaches_the_store(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1",
        "AWS_PROFILE": "nobody",
        "AWS_ACCESS_KEY_ID": "another",
        "AWS_CA_BUNDLE": "/nowhere",
        "http_proxy": "http://127.0.0.1:1",
        "AWS_MAX_ATTEMPTS": "50",
    }.items():
        monkeypatch.setenv(name, value)
    store, server = opened(gives(DATA))
    assert store.get("a") == DATA
    assert "Credential=drkit/" in server.talks[0].headers["authorization"]
