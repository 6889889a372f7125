"""Writes that S3 compares before it does them, for an arbiter. B2 has none, and no class here."""

from __future__ import annotations

import secrets
from typing import Any

from drkit.pace import Allowance
from drkit.stores.interface import ObjectMissing, StoreRefused, VersionChanged, Versioned
from drkit.stores.s3.bucket import S3Bucket
from drkit.stores.s3.errors import TryAgain
from drkit.stores.s3.store import S3Store
from drkit.stores.s3.upload import WRITER, put_whole, written_under
from drkit.stores.server_clock import skew_of

MOST_CONDITIONAL_BYTES = 1024 * 1024


class ConditionalS3Store(S3Store):
    """`Conditional` too: believed only after `drkit.stores.conditional.prove`.

    The version is the ETag, which is the same for the same bytes: so two records that must be told
    apart must differ, as leases do by holder and time.
    """

    def __init__(self, bucket: S3Bucket) -> None:
        super().__init__(bucket)
        self._bucket = bucket

    def read_versioned(self, name: str) -> Versioned:
        place = self._bucket.place(name)

        def work(allowance: Allowance) -> Versioned:
            answer = self._bucket.client.call("get_object", allowance, **place)
            try:
                self._check_head(name, answer, 0, None)
                return Versioned(self._bucket.client.read_body(answer), str(answer["ETag"]))
            finally:
                answer["Body"].close()

        return self._bucket.asking("read", name, work, most_bytes=MOST_CONDITIONAL_BYTES)

    def put_if_absent(self, name: str, data: bytes) -> str:
        return self._write(name, data, IfNoneMatch="*")

    def replace_if(self, name: str, data: bytes, version: str) -> str:
        try:
            return self._write(name, data, IfMatch=version)
        except ObjectMissing as error:
            raise VersionChanged(
                f"{self.name}: {name} is gone", hint="another writer removed it; read it anew"
            ) from error

    def clock_skew_s(self) -> float | None:
        """`Dated`."""
        bucket = self._bucket.bucket
        answer = self._bucket.ask("look at", "the bucket", "head_bucket", Bucket=bucket)
        headers = answer["ResponseMetadata"].get("HTTPHeaders", {})
        return skew_of(headers.get("date"), self._bucket.clock.now())

    def _write(self, name: str, data: bytes, **condition: str) -> str:
        """The new version. Where an answer was lost, a look at the object tells who wrote."""
        if len(data) > MOST_CONDITIONAL_BYTES:
            raise StoreRefused(
                f"{self.name}: {name} is too large to be compared", hint="use put instead"
            )
        writer = secrets.token_hex(16)
        fields: dict[str, Any] = {**self._bucket.place(name), "Metadata": {WRITER: writer}}
        try:
            answer = put_whole(self._bucket, name, [data], {**fields, **condition})
        except (VersionChanged, ObjectMissing, TryAgain):
            mine = written_under(self._bucket, name, writer)
            if mine is None:
                raise
            return mine
        return str(answer["ETag"])
