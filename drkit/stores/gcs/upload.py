"""Uploads to Cloud Storage: one request with the checksum in front; parts only for long streams.

Google's own helper takes two requests and compares the checksum when the object is already there
(docs/decisions/0009-gcs-in-one-request.md has the figures). Here the server refuses bytes that do
not have the CRC32C that was announced, and what it says it has stored is compared once more.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import orjson

from drkit.errors import DrkitError
from drkit.google_cloud import Body
from drkit.stores.gcs.calls import Answer, AskAgain, Calls, Unmet
from drkit.stores.gcs.checksum import Crc32c
from drkit.stores.interface import Buffer, ObjectMissing, StoreRefused, StoreUnreachable

FIELDS = "name,size,crc32c,md5Hash,generation,metadata"
# A multiple of 256 KiB, as the protocol wants; what is kept to be sent again.
PART_BYTES = 16 * 1024 * 1024
_DONE = frozenset({200, 201})
_RESUME_INCOMPLETE = 308


def upload(
    calls: Calls,
    name: str,
    data: Buffer | Iterable[Buffer],
    size_bytes: int,
    *,
    resource: Mapping[str, Any],
    query: Mapping[str, Any],
) -> str:
    """Writes the object; returns its generation. `resource` is metadata that it gets.

    A stream longer than `PART_BYTES` goes in parts, of which one is kept in memory.
    """
    pieces = [data] if isinstance(data, bytes | bytearray | memoryview) else data
    lasting = isinstance(pieces, Sequence)
    if not lasting:
        # Pieces are held to be sent again, and a generator may use its buffer again.
        pieces = (piece if isinstance(piece, bytes) else bytes(piece) for piece in pieces)
    exact = _exactly(calls.store, name, pieces, size_bytes)
    if lasting or size_bytes <= PART_BYTES:
        return _in_one(calls, name, list(exact), resource, query)
    return _Resumable(calls, name, size_bytes, resource, query).send(exact)


def _in_one(
    calls: Calls,
    name: str,
    pieces: list[Buffer],
    resource: Mapping[str, Any],
    query: Mapping[str, Any],
) -> str:
    crc = Crc32c()
    for piece in pieces:
        crc.update(piece)
    boundary = secrets.token_hex(16)
    values = orjson.dumps({**resource, "name": name, "crc32c": crc.written()})
    head = (
        f"--{boundary}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n".encode()
        + values
        + f"\r\n--{boundary}\r\nContent-Type: application/octet-stream\r\n\r\n".encode()
    )
    body = Body([head, *pieces, f"\r\n--{boundary}--\r\n".encode()])
    url = calls.objects_url(upload=True, uploadType="multipart", fields=FIELDS, **query)
    ends_s = calls.ends_s(len(body))
    size_bytes = sum(memoryview(piece).nbytes for piece in pieces)

    def once() -> str:
        try:
            answer = calls.ask(
                f"write {name}",
                "POST",
                url,
                headers={"Content-Type": f"multipart/related; boundary={boundary}"},
                body=body,
                ends_s=ends_s,
            )
        except StoreRefused as refusal:
            # A try whose answer was lost may have arrived, and what is retained cannot be replaced.
            return _already_there(calls, name, size_bytes, crc.written(), ends_s, refusal)
        return _stored(calls, name, answer, size_bytes, crc.written())

    return calls.again(once, ends_s=ends_s)


def _already_there(
    calls: Calls, name: str, size_bytes: int, crc32c: str, ends_s: float, refusal: StoreRefused
) -> str:
    """The generation of an object with exactly these bytes; else `refusal` is raised."""
    try:
        generation = _generation(_look(calls, name, ends_s), name, size_bytes, crc32c)
    except DrkitError:
        generation = None
    if generation is None:
        raise refusal
    return generation


def _stored(calls: Calls, name: str, answer: Answer, size_bytes: int, crc32c: str) -> str:
    """The generation of what was stored, if it is what was sent; else it is removed."""
    found, ends_s = answer.json, calls.ends_s()
    generation = _generation(found, name, size_bytes, crc32c)
    if generation is None:
        # Is it the object or the answer that was bent on the way?
        found = _look(calls, name, ends_s)
        generation = _generation(found, name, size_bytes, crc32c)
    if generation is not None:
        return generation
    url = calls.objects_url(name, ifGenerationMatch=found.get("generation"))
    gone = frozenset({200, 204, 404})
    with suppress(DrkitError, Unmet):
        calls.ask(f"remove {name}", "DELETE", url, expect=gone, ends_s=ends_s)
    raise AskAgain(
        f"{calls.store}: {name} was stored with other bytes than were sent "
        f"({found.get('size')} bytes, CRC32C {found.get('crc32c')})",
        hint="it was removed again; look at what lies between here and the store",
    )


def _look(calls: Calls, name: str, ends_s: float) -> dict[str, Any]:
    url = calls.objects_url(name, fields=FIELDS)
    return calls.ask(f"look at {name}", "GET", url, ends_s=ends_s).json


def _generation(found: Mapping[str, Any], name: str, size_bytes: int, crc32c: str) -> str | None:
    """The generation in an object's metadata, if it is of exactly this object."""
    generation = str(found.get("generation", ""))
    as_sent = (name, str(size_bytes), crc32c)
    stored = (found.get("name", name), str(found.get("size")), found.get("crc32c", crc32c))
    return generation if stored == as_sent and generation.isdigit() else None


class _Resumable:
    """An upload session: parts in order, each sent again from where the server has it."""

    def __init__(
        self,
        calls: Calls,
        name: str,
        size_bytes: int,
        resource: Mapping[str, Any],
        query: Mapping[str, Any],
    ) -> None:
        self._calls = calls
        self._name = name
        self._size_bytes = size_bytes
        self._resource = resource
        self._query = query
        self._crc = Crc32c()
        self._url = ""

    def send(self, stream: Iterator[Buffer]) -> str:
        self._url = self._begin()
        try:
            at = 0
            for part in _parts(stream):
                for piece in part:
                    self._crc.update(piece)
                length = sum(memoryview(piece).nbytes for piece in part)
                answer = self._put(part, at, length)
                at += length
        except BaseException:
            self._cancel()
            raise
        assert answer is not None  # `_put` returns the last part's answer or raises
        return _stored(self._calls, self._name, answer, self._size_bytes, self._crc.written())

    def _begin(self) -> str:
        """The session's URL: whoever has it may write this object, so it stays in here."""
        calls, ends_s = self._calls, self._calls.ends_s()
        url = calls.objects_url(upload=True, uploadType="resumable", fields=FIELDS, **self._query)
        answer = calls.again(
            lambda: calls.ask(
                f"write {self._name}",
                "POST",
                url,
                headers={
                    "Content-Type": "application/json; charset=UTF-8",
                    "X-Upload-Content-Type": "application/octet-stream",
                    "X-Upload-Content-Length": str(self._size_bytes),
                },
                body=orjson.dumps({**self._resource, "name": self._name}),
                ends_s=ends_s,
            ),
            ends_s=ends_s,
        )
        location = answer.headers.get("Location", "")
        # The token goes where this points: only to the same server.
        if urlsplit(location)[:2] != urlsplit(calls.endpoint)[:2]:
            raise StoreRefused(
                f"{calls.store}: the upload of {self._name} is sent to another server",
                hint=f"is stores.{calls.store}.endpoint right?",
            )
        return location

    def _put(self, part: list[Buffer], at: int, length: int) -> Answer | None:
        """Sends a part; the answer to the last one. Raises `StoreUnreachable`."""
        ends_s = self._calls.ends_s(length)
        last = at + length == self._size_bytes
        have = at

        def once() -> Answer | None:
            nonlocal have
            try:
                answer = self._ask(_after(part, have - at), have, last, ends_s)
            except AskAgain:
                # What arrived is not sent again, nor is what came before it.
                answer = self._ask([], at, last, ends_s)
            if answer.status in _DONE:
                return answer
            have = self._received(answer)
            if have == at + length and not last:
                return None
            if not at <= have <= at + length:
                raise StoreUnreachable(
                    f"{self._calls.store}: it lost a part of {self._name} that it had taken",
                    hint="the upload was given up; try again",
                )
            raise AskAgain(
                f"{self._calls.store}: a part of {self._name} did not arrive whole",
                hint="try again; see what lies between here and the store",
            )

        return self._calls.again(once, ends_s=ends_s)

    def _ask(self, pieces: list[Buffer], at: int, last: bool, ends_s: float) -> Answer:
        """Sends `pieces` at byte `at`; without any it asks how far the server is."""
        length = sum(memoryview(piece).nbytes for piece in pieces)
        span = f"{at}-{at + length - 1}" if length else "*"
        headers = {"Content-Range": f"bytes {span}/{self._size_bytes}"}
        if last and length:
            headers["X-Goog-Hash"] = f"crc32c={self._crc.written()}"
        try:
            return self._calls.ask(
                f"write {self._name}",
                "PUT",
                self._url,
                headers=headers,
                body=Body(pieces) if length else None,
                expect=_DONE | {_RESUME_INCOMPLETE},
                ends_s=ends_s,
            )
        except ObjectMissing as error:
            raise StoreUnreachable(
                f"{self._calls.store}: it forgot the upload of {self._name}",
                hint="the upload was given up; try again",
            ) from error

    def _received(self, answer: Answer) -> int:
        """Bytes that the server has, by its Range header; none when there is no such header."""
        span = answer.headers.get("Range", "")
        if not span:
            return 0
        end = span.removeprefix("bytes=0-")
        return int(end) + 1 if end.isdigit() and len(end) < 20 else -1

    def _cancel(self) -> None:
        """Leaves nothing to wait for; a session that is not cancelled ends after a week."""
        with suppress(DrkitError, ObjectMissing):
            self._calls.ask(
                f"give up {self._name}",
                "DELETE",
                self._url,
                expect=frozenset({200, 204, 404, 410, 499}),
                ends_s=self._calls.ends_s(),
            )


def _exactly(store: str, name: str, pieces: Iterable[Buffer], size_bytes: int) -> Iterator[Buffer]:
    """The pieces; `StoreRefused` in place of the last one if they are not `size_bytes` in all."""
    count, held = 0, None
    for piece in pieces:
        count += memoryview(piece).nbytes
        if count > size_bytes:
            break
        if held is not None:
            yield held
        held = piece
    if count != size_bytes:
        raise StoreRefused(
            f"{store}: {name} was announced with {size_bytes} bytes and is "
            f"{'longer' if count > size_bytes else f'{count} bytes long'}",
            hint="did the file change while it was read? Try again",
        )
    if held is not None:
        yield held


def _parts(stream: Iterable[Buffer]) -> Iterator[list[Buffer]]:
    """The stream in parts of `PART_BYTES`; the last one may be shorter, and none is empty."""
    part: list[Buffer] = []
    room = PART_BYTES
    for piece in stream:
        view = memoryview(piece).cast("B")
        while len(view):
            if not room:
                yield part
                part, room = [], PART_BYTES
            taken = view[:room]
            part.append(taken)
            room -= len(taken)
            view = view[len(taken) :]
    if part:
        yield part


def _after(pieces: list[Buffer], skip: int) -> list[Buffer]:
    """`pieces` without their first `skip` bytes."""
    rest: list[Buffer] = []
    for piece in pieces:
        view = memoryview(piece).cast("B")
        rest.append(view[min(skip, len(view)) :])
        skip = max(0, skip - len(view))
    return [view for view in rest if len(view)]
