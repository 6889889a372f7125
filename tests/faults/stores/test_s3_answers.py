"""What is S3's own: checksums, lists, parts and refusals, told wrongly, by S3 and by B2."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from raw_server import Talk, resets, says
from raw_stores import B2, DATA, S3, Opened, opened_on, s3_gives, s3_takes

from drkit.stores.interface import (
    ObjectMissing,
    StoreRefused,
    StoreUnreachable,
    VersionChanged,
)

keeps_it_wrong = S3.keeps_it_wrong


@pytest.fixture
def opened() -> Iterator[Opened]:
    yield from opened_on(S3)


@pytest.fixture
def opened_b2() -> Iterator[Opened]:
    yield from opened_on(B2)


def test_fewer_bytes_than_asked_for_are_an_error_even_if_the_server_is_content(
    opened: Opened,
) -> None:
    store, _server = opened(
        lambda talk: talk.answer(206, DATA[:50], Content_Range=f"bytes 0-49/{len(DATA)}")
    )
    with pytest.raises(StoreUnreachable, match="too short"):
        store.get("a", length=100)


def test_the_whole_object_in_place_of_a_range_is_refused_unread(opened: Opened) -> None:
    store, _server = opened(lambda talk: talk.answer(200, DATA[:10], length=10**12))
    with pytest.raises(StoreRefused, match="came whole"):
        store.get("a", offset=5, length=10)


def test_an_object_that_claims_to_fill_the_memory_is_refused_unread(opened: Opened) -> None:
    store, server = opened(lambda talk: talk.answer(200, DATA[:10], length=10**12))
    with pytest.raises(StoreRefused, match="too many to read at once"):
        store.get("a")
    assert len(server.talks) == 1


@pytest.mark.parametrize("checksum", ["sha256", "md5"])
def test_bytes_that_arrive_wrong_are_sent_again(opened: Opened, checksum: str) -> None:
    store, server = opened(keeps_it_wrong, s3_takes, checksum=checksum)
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


def test_each_upload_names_its_checksum_and_nothing_that_b2_refuses(
    opened: Opened, opened_b2: Opened
) -> None:
    for open_on, fields in (
        (opened, {"checksum": "sha256"}),
        (opened, {"checksum": "md5"}),
        (opened_b2, {}),
    ):
        store, server = open_on(s3_takes, **fields)
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

    store, server = opened(says(503, "SlowDown"), s3_takes)
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


def test_b2_is_asked_again_after_a_501(opened_b2: Opened) -> None:
    store, _server = opened_b2(says(501, "NotImplemented"), s3_gives(DATA))
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
