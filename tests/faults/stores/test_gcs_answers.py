"""What is Cloud Storage's own: its refusals, checksums, preconditions and lists, told wrongly."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from raw_server import Step, Talk, resets
from raw_stores import (
    DATA,
    GCS,
    Opened,
    crc32c,
    gcs_gives,
    gcs_keeps_it_wrong,
    gcs_says,
    gcs_shows,
    gcs_takes,
    opened_on,
)

from drkit.stores.interface import (
    ObjectMissing,
    Retained,
    StoreRefused,
    StoreUnreachable,
    VersionChanged,
)


@pytest.fixture
def opened() -> Iterator[Opened]:
    yield from opened_on(GCS)


def test_a_wrong_body_of_the_right_length_is_read_again(opened: Opened) -> None:
    wrong = bytes([DATA[0] ^ 1]) + DATA[1:]
    store, server = opened(gcs_gives(wrong, said=crc32c(DATA)), gcs_gives(DATA))
    assert store.get("a") == DATA
    assert len(server.talks) == 2


def test_bytes_that_are_kept_wrong_are_removed_and_sent_again(opened: Opened) -> None:
    store, server = opened(*[gcs_keeps_it_wrong] * 3, gcs_takes)
    store.put("a", DATA, size_bytes=len(DATA))
    assert [talk.method for talk in server.talks] == ["POST", "GET", "DELETE", "POST"]
    assert "ifGenerationMatch=7" in server.talks[2].target


def test_an_answer_that_came_bent_is_looked_at_again_before_anything_is_removed(
    opened: Opened,
) -> None:
    shows = gcs_shows(name="a", size=str(len(DATA)), crc32c=crc32c(DATA), generation="7")
    store, server = opened(gcs_keeps_it_wrong, shows)
    store.put("a", DATA, size_bytes=len(DATA))
    assert [talk.method for talk in server.talks] == ["POST", "GET"]


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
    store, _server = opened(gcs_says(status, reason, message))
    with pytest.raises(kind) as caught:
        store.stat("a")
    assert type(caught.value) is kind
    assert caught.value.hint


def test_a_put_whose_answer_was_lost_is_done_though_the_object_is_now_retained(
    opened: Opened,
) -> None:
    shows = gcs_shows(size=str(len(DATA)), crc32c=crc32c(DATA), generation="7")
    refuses = gcs_says(403, "retentionPolicyNotMet")
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
        gcs_shows(generation="9", metadata={"drkit-writer": writers[0]})(talk)

    store, server = opened(takes_and_resets, gcs_says(412, "conditionNotMet"), shows)
    assert store.put_if_absent("lease", b"mine") == "9"
    assert "ifGenerationMatch=0" in server.talks[0].target


def test_a_create_that_another_writer_won_is_told_so(opened: Opened) -> None:
    theirs = gcs_shows(generation="9", metadata={"drkit-writer": "another"})
    store, _server = opened(resets, gcs_says(412, "conditionNotMet"), theirs)
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
