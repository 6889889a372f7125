"""Uploads to S3 and its kin: each with a checksum that the server checks and whose answer is read.

An object is one request, whole or not there, up to 16 MiB of streamed or 5 GiB of buffered data.
What is larger goes in parts, which become an object at the end; a failure takes them back, and
what a killed process left is taken back by a later one.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from drkit.aws import Pieces
from drkit.errors import DrkitError
from drkit.pace import Allowance
from drkit.stores.interface import Buffer, ObjectMissing, StoreRefused
from drkit.stores.s3.bucket import S3Bucket
from drkit.stores.s3.errors import TryAgain

PART_BYTES = 16 * 1024 * 1024
MOST_STREAMED_BYTES = PART_BYTES
MOST_SINGLE_BYTES = 5 * 1024**3
_MOST_PARTS = 10_000
_PARTS_IN_FLIGHT = 3
_ASSEMBLED_BYTES_PER_S = 8 * 1024 * 1024
WRITER = "drkit-writer"
"""Metadata that tells one writing of an object from another, where an answer was lost."""
ABANDONED_AFTER = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Digest:
    """The checksum of one body, as the provider takes it."""

    fields: dict[str, str]
    md5: str | None
    """Hexadecimal, where ETags are compared."""

    @classmethod
    def of(cls, buffers: Sequence[Buffer], bucket: S3Bucket) -> Digest:
        traits = bucket.traits
        hasher = hashlib.new(traits.checksum, usedforsecurity=False)
        for buffer in buffers:
            hasher.update(buffer)
        text = base64.b64encode(hasher.digest()).decode()
        if traits.checksum == "sha256":
            return cls({"ChecksumSHA256": text}, None)
        return cls({"ContentMD5": text}, hasher.hexdigest() if traits.etag_is_md5 else None)

    def compare(self, bucket: S3Bucket, name: str, answer: dict[str, Any]) -> None:
        """Raises `TryAgain` when the server says that it holds other bytes."""
        sent, kept = self.fields.get("ChecksumSHA256"), answer.get("ChecksumSHA256")
        wrong = sent is not None and kept not in (None, sent)
        etag = str(answer.get("ETag", "")).strip('"').lower()
        if self.md5 is not None and len(etag) == 32:
            wrong = wrong or etag != self.md5
        if wrong:
            raise TryAgain(
                f"{bucket.store}: {name} arrived with another checksum than it was sent with",
                hint="what is between changes bytes; if the bucket encrypts with keys of its own, "
                "set the store's etag_is_md5 to false",
                may_have_arrived=True,
            )


def put_object(
    bucket: S3Bucket, name: str, data: Buffer | Iterable[Buffer], size_bytes: int
) -> None:
    """Writes the object; see `Store.put`."""
    place = bucket.place(name)
    given: Iterable[Buffer]
    given = (data,) if isinstance(data, bytes | bytearray | memoryview) else data
    if isinstance(given, Sequence) and size_bytes <= MOST_SINGLE_BYTES:
        # Looked at by number here; whoever watches the sequence sees it gone through as it is sent.
        held: list[Buffer] = [given[at] for at in range(len(given))]
        for _ in _exactly(bucket, name, held, size_bytes):
            pass
        put_whole(bucket, name, held, place, going=given)
        return
    # Whoever yields a buffer may fill it anew for the next piece.
    pieces = (piece if isinstance(piece, bytes) else bytes(piece) for piece in given)
    exact = _exactly(bucket, name, pieces, size_bytes)
    if size_bytes > MOST_STREAMED_BYTES:
        _Multipart(bucket, name, place, size_bytes).run(exact)
    else:
        put_whole(bucket, name, list(exact), place)


def put_whole(
    bucket: S3Bucket,
    name: str,
    buffers: Sequence[Buffer],
    fields: Mapping[str, object],
    *,
    going: Iterable[Buffer] | None = None,
) -> dict[str, Any]:
    """One request; `going` is gone through for each try, and gives the same bytes as `buffers`."""
    digest, body = Digest.of(buffers, bucket), Pieces(buffers, going)

    def work(allowance: Allowance) -> dict[str, Any]:
        answer = bucket.client.call(
            "put_object",
            allowance,
            Body=body,
            **digest.fields,
            **bucket.put_fields(name),
            **fields,
        )
        digest.compare(bucket, name, answer)
        return answer

    return bucket.asking("write", name, work, size_bytes=len(body))


class _Multipart:
    """One object in parts, a few of them on their way at once."""

    def __init__(self, bucket: S3Bucket, name: str, place: dict[str, Any], size_bytes: int) -> None:
        self._bucket = bucket
        self._name = name
        self._place = place
        self._size_bytes = size_bytes
        self._part_bytes = max(PART_BYTES, -(-size_bytes // _MOST_PARTS))
        self._free = threading.Semaphore(_PARTS_IN_FLIGHT)
        self._mark = secrets.token_hex(16)

    def run(self, data: Iterable[Buffer]) -> None:
        bucket, name = self._bucket, self._name
        fields = {**bucket.put_fields(name), "Metadata": {WRITER: self._mark}}
        if bucket.traits.checksum == "sha256":
            fields["ChecksumAlgorithm"] = "SHA256"
        begun = bucket.ask("write", name, "create_multipart_upload", **self._place, **fields)
        upload = {**self._place, "UploadId": begun["UploadId"]}
        try:
            self._complete(upload, self._send(data, upload))
        except BaseException:
            with suppress(DrkitError):
                bucket.ask("write", name, "abort_multipart_upload", **upload)
            raise

    def _complete(self, upload: dict[str, Any], parts: list[dict[str, Any]]) -> None:
        """Makes the parts an object. Where the answer was lost, a look at the object tells."""
        bucket, name = self._bucket, self._name
        try:
            bucket.ask(
                "write",
                name,
                "complete_multipart_upload",
                silent_s=self._size_bytes / _ASSEMBLED_BYTES_PER_S,
                **upload,
                MultipartUpload={"Parts": parts},
            )
        except DrkitError:
            if written_under(bucket, name, self._mark) is None:
                raise

    def _send(self, data: Iterable[Buffer], upload: dict[str, Any]) -> list[dict[str, Any]]:
        sent: list[Future[dict[str, Any]]] = []
        with ThreadPoolExecutor(_PARTS_IN_FLIGHT, f"{self._bucket.store} part") as threads:
            try:
                for number, buffers in enumerate(_parts(data, self._part_bytes), 1):
                    self._free.acquire()  # so that no more parts than these lie in memory
                    _raise_first(sent)
                    sent.append(threads.submit(self._put_part, number, buffers, upload))
                return [part.result() for part in sent]
            except BaseException:
                for part in sent:
                    part.cancel()
                raise

    def _put_part(
        self, number: int, buffers: Sequence[Buffer], upload: dict[str, Any]
    ) -> dict[str, Any]:
        bucket, name = self._bucket, self._name
        try:
            digest, body = Digest.of(buffers, bucket), Pieces(buffers)

            def work(allowance: Allowance) -> dict[str, Any]:
                answer = bucket.client.call(
                    "upload_part",
                    allowance,
                    **upload,
                    PartNumber=number,
                    Body=body,
                    **digest.fields,
                )
                digest.compare(bucket, name, answer)
                return answer

            answer = bucket.asking("write", name, work, size_bytes=len(body))
        finally:
            self._free.release()
        part = {"PartNumber": number, "ETag": answer["ETag"]}
        if "ChecksumSHA256" in digest.fields:
            part["ChecksumSHA256"] = digest.fields["ChecksumSHA256"]
        return part


def written_under(bucket: S3Bucket, name: str, mark: str) -> str | None:
    """The ETag of the object if it is the one that was written under `mark`."""
    try:
        found = bucket.ask("look at", name, "head_object", **bucket.place(name))
    except ObjectMissing:
        return None
    return str(found["ETag"]) if found.get("Metadata", {}).get(WRITER) == mark else None


def abort_abandoned(bucket: S3Bucket, now: datetime) -> int:
    """Takes back the parts of uploads that nobody has added to for a day; how many uploads.

    Raises what the store raises: some do not list uploads.
    """
    answer = bucket.ask(
        "list",
        "unfinished uploads",
        "list_multipart_uploads",
        Bucket=bucket.bucket,
        Prefix=bucket.root,
    )
    count = 0
    for found in answer.get("Uploads", ()):
        upload = {"Bucket": bucket.bucket, "Key": found["Key"], "UploadId": found["UploadId"]}
        if now - found["Initiated"] < ABANDONED_AFTER:
            continue
        parts = bucket.ask("list", "parts", "list_parts", **upload).get("Parts", ())
        if all(now - part["LastModified"] >= ABANDONED_AFTER for part in parts):
            bucket.ask("delete", "parts", "abort_multipart_upload", **upload)
            count += 1
    return count


def _exactly(
    bucket: S3Bucket, name: str, data: Iterable[Buffer], size_bytes: int
) -> Iterator[Buffer]:
    """`data`, and `StoreRefused` where it is not `size_bytes` long."""
    count = 0
    for buffer in data:
        count += memoryview(buffer).nbytes
        if count > size_bytes:
            break
        yield buffer
    if count != size_bytes:
        raise StoreRefused(
            f"{bucket.store}: {name} was announced with {size_bytes} bytes and is "
            f"{'longer' if count > size_bytes else f'{count} bytes long'}",
            hint="did the file change while it was read? Try again",
        )


def _parts(data: Iterable[Buffer], part_bytes: int) -> Iterator[list[Buffer]]:
    """The same bytes in parts of `part_bytes`, the last one shorter; nothing is copied."""
    part: list[Buffer] = []
    room = part_bytes
    for buffer in data:
        view = memoryview(buffer).cast("B")
        while len(view) >= room:
            yield [*part, view[:room]]
            view, part, room = view[room:], [], part_bytes
        if view:
            part.append(view)
            room -= len(view)
    if part:
        yield part


def _raise_first(sent: Sequence[Future[dict[str, Any]]]) -> None:
    for part in sent:
        if part.done():
            part.result()
