"""A store in a bucket of S3, of what speaks its language, or of Backblaze B2."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from drkit.errors import DrkitError
from drkit.http_wire import Wire
from drkit.pace import Allowance
from drkit.stores.inspection import Inspection
from drkit.stores.interface import (
    Buffer,
    ObjectInfo,
    ObjectMissing,
    Retained,
    StoreRefused,
    StoreUnreachable,
)
from drkit.stores.names import check_prefix, is_safe_name
from drkit.stores.s3.bucket import S3Bucket
from drkit.stores.s3.errors import PastTheEnd, TryAgain
from drkit.stores.s3.inspect import inspect_bucket
from drkit.stores.s3.upload import MOST_STREAMED_BYTES, abort_abandoned, put_object

MOST_WHOLE_BYTES = 2 * 1024**3
"""What `get` reads without a length: a store may not fill the memory by what it announces."""
MOST_PRESIGNED_S = 7 * 24 * 3600


class S3Store:
    """`Store` and `Presigner` on one bucket."""

    def __init__(self, bucket: S3Bucket) -> None:
        self._bucket = bucket
        self._sweeping = threading.Lock()
        self._swept = False

    @property
    def name(self) -> str:
        return self._bucket.store

    @property
    def wire(self) -> Wire:
        """The way to the server: its presigned URLs are read by it here."""
        return self._bucket.client.wire

    def put(self, name: str, data: Buffer | Iterable[Buffer], *, size_bytes: int) -> None:
        if size_bytes > MOST_STREAMED_BYTES:
            self._sweep_once()
        put_object(self._bucket, name, data, size_bytes)

    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        place = self._bucket.place(name)
        if offset < 0 or (length is not None and length < 0):
            raise self._short(name, offset, length)
        if length == 0:
            if self.stat(name).size_bytes < offset:
                raise self._short(name, offset, length)
            return b""
        if offset or length is not None:
            last = "" if length is None else offset + length - 1
            place["Range"] = f"bytes={offset}-{last}"

        def work(allowance: Allowance) -> bytes:
            answer = self._bucket.client.call("get_object", allowance, **place)
            try:
                self._check_head(name, answer, offset, length)
                return self._bucket.client.read_body(answer)
            finally:
                answer["Body"].close()

        try:
            return self._bucket.asking(
                "read", name, work, size_bytes=length or 0, most_bytes=MOST_WHOLE_BYTES
            )
        except PastTheEnd as error:
            if length is None and self.stat(name).size_bytes == offset:
                return b""
            raise self._short(name, offset, length) from error

    def stat(self, name: str) -> ObjectInfo:
        answer = self._bucket.ask("look at", name, "head_object", **self._bucket.place(name))
        return ObjectInfo(name, int(answer["ContentLength"]))

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        check_prefix(self.name, prefix)
        return self._listed(prefix)

    def delete(self, name: str) -> None:
        place = self._bucket.place(name)
        with suppress(ObjectMissing):
            if self._bucket.traits.delete_versions:
                self._delete_versions(name, place)
            else:
                self._bucket.ask("delete", name, "delete_object", **place)

    def close(self) -> None:
        self._bucket.client.close()

    def presign(self, name: str, expires_s: float) -> str:
        """An https URL signed with this store's key; at most a week, by the provider's rules."""
        if not 0 < expires_s <= MOST_PRESIGNED_S:
            raise StoreRefused(
                f"{self.name}: a URL cannot be valid for {expires_s:.0f} s",
                hint=f"at most a week: {MOST_PRESIGNED_S} s",
            )
        place = self._bucket.place(name)
        return self._bucket.client.presign("get_object", math.ceil(expires_s), **place)

    @property
    def retention(self) -> timedelta | None:
        lock = self._bucket.traits.lock
        return None if lock is None else timedelta(days=lock.days)

    def retained_until(self, name: str) -> datetime | None:
        found = self._bucket.ask("look at", name, "head_object", **self._bucket.place(name))
        until: datetime | None = found.get("ObjectLockRetainUntilDate")
        return until

    def retain(self, name: str, until: datetime) -> None:
        lock = self._bucket.traits.lock
        self._bucket.ask(
            "retain",
            name,
            "put_object_retention",
            Retention={
                "Mode": lock.mode if lock else "GOVERNANCE",
                "RetainUntilDate": until.replace(microsecond=0),
            },
            **self._bucket.place(name),
        )

    def inspect(self) -> Inspection:
        return inspect_bucket(self._bucket)

    def _check_head(
        self, name: str, answer: dict[str, Any], offset: int, length: int | None
    ) -> None:
        """Before a byte is read: is this what was asked for?"""
        size_bytes = int(answer.get("ContentLength", -1))
        said = answer.get("ContentRange")  # some say 200 all the same
        if (offset or length is not None) and said is None and (offset, length) != (0, size_bytes):
            raise StoreRefused(
                f"{self.name}: {name} came whole where a range was asked for",
                hint="the server, or a proxy before it, does not know ranges",
            )
        span = f"bytes {offset}-{offset + size_bytes - 1}/"
        if said is not None and not str(said).startswith(span):
            raise TryAgain(
                f"{self.name}: {name} came as {said}, which is not what was asked for",
                hint="the server, or a proxy before it, answers wrongly",
            )
        if length is not None and size_bytes < length:
            raise self._short(name, offset, length)
        if size_bytes > (MOST_WHOLE_BYTES if length is None else length):
            raise StoreRefused(
                f"{self.name}: {name} has {size_bytes} bytes, too many to read at once",
                hint="nothing that drkit reads whole is that large; look at the object",
            )

    def _listed(self, prefix: str) -> Iterator[ObjectInfo]:
        root = self._bucket.root
        place: dict[str, Any] = {"Bucket": self._bucket.bucket, "Prefix": root + prefix}
        token: str | None = None
        while True:
            page: dict[str, Any] = {} if token is None else {"ContinuationToken": token}
            answer = self._bucket.ask("list", prefix, "list_objects_v2", **place, **page)
            for found in answer.get("Contents", ()):
                name = str(found["Key"])[len(root) :]
                if is_safe_name(name) and str(found["Key"]).startswith(root + prefix):
                    yield ObjectInfo(name, int(found["Size"]))
            before, token = token, answer.get("NextContinuationToken")
            if not answer.get("IsTruncated") or token is None:
                return
            if token == before:
                raise StoreUnreachable(
                    f"{self.name}: the list below {prefix!r} does not go on",
                    hint="the server answers wrongly; try again later",
                )

    def _delete_versions(self, name: str, place: dict[str, Any]) -> None:
        """Deletes what a plain delete only hides, and the marks that hide it."""
        marks: dict[str, Any] = {}
        while True:
            answer = self._bucket.ask(
                "delete",
                name,
                "list_object_versions",
                Bucket=place["Bucket"],
                Prefix=place["Key"],
                **marks,
            )
            versions = [*answer.get("Versions", ()), *answer.get("DeleteMarkers", ())]
            for version in versions:
                if version["Key"] == place["Key"]:
                    self._delete_version(name, place, str(version["VersionId"]))
            # Keys come in order: the object's own versions are the first.
            if not answer.get("IsTruncated") or answer.get("NextKeyMarker") != place["Key"]:
                return
            marks = {
                "KeyMarker": str(answer["NextKeyMarker"]),
                "VersionIdMarker": str(answer["NextVersionIdMarker"]),
            }

    def _delete_version(self, name: str, place: dict[str, Any], version: str) -> None:
        try:
            with suppress(ObjectMissing):
                self._bucket.ask("delete", name, "delete_object", **place, VersionId=version)
        except StoreRefused as error:
            until = self._retained_until(name, place, version)
            if until is None:
                raise
            raise Retained(
                f"{self.name}: {name} is retained until {until:%Y-%m-%d %H:%M} UTC",
                hint="object lock holds it; it can be deleted after that",
                until=until,
            ) from error

    def _retained_until(self, name: str, place: dict[str, Any], version: str) -> datetime | None:
        try:
            found = self._bucket.ask("look at", name, "head_object", **place, VersionId=version)
        except DrkitError:
            return None
        until: datetime | None = found.get("ObjectLockRetainUntilDate")
        return until

    def _sweep_once(self) -> None:
        """Takes back what killed writers left; a store that cannot list it has none, or its own
        rule for it."""
        with self._sweeping:
            if not self._swept:
                self._swept = True
                with suppress(DrkitError):
                    abort_abandoned(self._bucket, self._bucket.clock.now())

    def _short(self, name: str, offset: int, length: int | None) -> StoreUnreachable:
        wanted = "all" if length is None else f"{length} bytes"
        return StoreUnreachable(
            f"{self.name}: {name} is too short to read {wanted} at {offset}",
            hint="the object is truncated here; read it from another store",
        )
