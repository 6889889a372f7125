"""A Google Cloud Storage bucket over its JSON API.

Lists and reads are consistent there: what was answered is what is. Every object carries a
generation, by which the arbiter's conditional writes compare (`Conditional`). Requests that hang
or crawl are cut, and asked again for as long as one request may last in all.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

import orjson

from drkit.clock import Clock
from drkit.config.stores import GcsStore as GcsConfig
from drkit.errors import ConfigError, DrkitError
from drkit.google_cloud import Session, load_credentials, may_sign, open_session, sign_url
from drkit.http_client import is_loopback
from drkit.http_wire import Route, Wire
from drkit.io_policy import STORE_REQUEST, STORE_RETRY, Deadline, Retry
from drkit.pace import Throttle
from drkit.stores.gcs.calls import Calls, Unmet
from drkit.stores.gcs.inspect import inspect_bucket, skew_seen
from drkit.stores.gcs.read import about, pages, read_range, read_whole, size_of, too_short
from drkit.stores.gcs.upload import FIELDS, upload
from drkit.stores.inspection import Inspection
from drkit.stores.interface import (
    Buffer,
    ObjectInfo,
    ObjectMissing,
    Retained,
    StoreRefused,
    StoreUnreachable,
    VersionChanged,
    Versioned,
)
from drkit.stores.names import LOCKED_BELOW, check_name, check_prefix

ENDPOINT = "https://storage.googleapis.com"
# A whole object's size is not known before it is asked for; its reads end with this much time.
_MOST_WHOLE_BYTES = 1 << 30
_MOST_SIGNED_S = 7 * 86400

_WRITER = "drkit-writer"
_MODES = {"governance": "Unlocked", "compliance": "Locked"}


@dataclass(frozen=True, slots=True)
class Settings:
    """What new objects get, and where names lie. `prefix` is empty or ends in `/`."""

    bucket: str
    prefix: str
    endpoint: str
    storage_class: str | None
    kms_key: str | None
    lock_mode: str | None
    lock_for: timedelta | None
    hold: bool


def settings_of(config: GcsConfig) -> Settings:
    """Raises `ConfigError` for an endpoint that would see the token in the clear."""
    endpoint = (config.endpoint or ENDPOINT).rstrip("/")
    if endpoint.startswith("http://") and not is_loopback(endpoint):
        raise ConfigError(
            f"the endpoint {endpoint} is not https",
            hint="tokens are sent in the clear to this machine only; write https://",
        )
    prefix = config.prefix.strip("/")
    lock = config.object_lock
    return Settings(
        bucket=config.bucket,
        prefix=f"{prefix}/" if prefix else "",
        endpoint=endpoint,
        storage_class=config.storage_class,
        kms_key=config.kms_key,
        lock_mode=_MODES[lock.mode] if lock else None,
        lock_for=timedelta(days=lock.days) if lock else None,
        hold=config.hold,
    )


class GcsStore:
    """`Store`, `Presigner`, `Conditional`, `Inspected` and `Dated` on objects below a prefix."""

    def __init__(
        self,
        name: str,
        settings: Settings,
        written: str | None,
        route: Route,
        clock: Clock,
        *,
        sending: Throttle | None = None,
        receiving: Throttle | None = None,
        deadline: Deadline = STORE_REQUEST,
        retry: Retry = STORE_RETRY,
    ) -> None:
        """`written`: the path or the text of a service account's key."""
        self.settings = settings
        self._name = name
        self._written = written
        self._clock = clock
        self.wire = Wire(route, clock=clock, sending=sending, receiving=receiving)
        self.calls = Calls(
            name,
            settings.bucket,
            settings.endpoint,
            lambda: self.session,
            clock,
            deadline=deadline,
            retry=retry,
        )

    @property
    def name(self) -> str:
        return self._name

    @cached_property
    def session(self) -> Session:
        """Opened with the first request, so that a store that is not used needs no credential."""
        credentials = load_credentials(
            self._written,
            anonymous=is_loopback(self.settings.endpoint),
            field=f"stores.{self._name}.credentials",
        )
        return open_session(credentials, self.wire, self._clock)

    def put(self, name: str, data: Buffer | Iterable[Buffer], *, size_bytes: int) -> None:
        self._write(name, data, size_bytes, {}, {})

    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        full, calls = self._full(name), self.calls
        ends_s = calls.ends_s(length or _MOST_WHOLE_BYTES)
        if length == 0 or offset < 0 or (length is not None and length < 0):
            size_bytes = size_of(calls, full, ends_s=ends_s)
            if length != 0 or not 0 <= offset <= size_bytes:
                raise too_short(calls, full, offset, length, size_bytes)
            return b""
        if offset == 0 and length is None:
            return self._read_whole(full)[0]
        return calls.again(
            lambda: read_range(calls, full, offset, length, ends_s=ends_s), ends_s=ends_s
        )

    def stat(self, name: str) -> ObjectInfo:
        full = self._full(name)
        return ObjectInfo(name, size_of(self.calls, full, ends_s=self.calls.ends_s()))

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        check_prefix(self._name, prefix)
        return pages(self.calls, self.settings.prefix, prefix)

    def delete(self, name: str) -> None:
        full = self._full(name)
        try:
            self._delete(full, name)
        except Retained as refusal:
            until = self._retained_until(full)
            date = f" until {until:%Y-%m-%d %H:%M} UTC" if until else ""
            raise Retained(refusal.message + date, hint=refusal.hint, until=until) from refusal

    def close(self) -> None:
        self.wire.close()

    def presign(self, name: str, expires_s: float) -> str:
        full = self._full(name)
        if not 0 < expires_s <= _MOST_SIGNED_S:
            raise StoreRefused(
                f"{self._name}: a link cannot be good for {expires_s:.0f} s",
                hint="Google's signed links are good for at most 7 days",
            )
        if not may_sign(self.session):
            raise StoreRefused(
                f"{self._name}: its credentials cannot sign links",
                hint=f"let stores.{self._name}.credentials name a service account's key file",
            )
        return sign_url(self.session, self.settings.endpoint, self.settings.bucket, full, expires_s)

    def read_versioned(self, name: str) -> Versioned:
        data, headers = self._read_whole(self._full(name))
        version = headers.get("X-Goog-Generation", "")
        if not version.isdigit():
            raise StoreUnreachable(
                f"{self._name}: {name} came without its generation",
                hint="is the endpoint really Cloud Storage?",
            )
        return Versioned(data, version)

    def put_if_absent(self, name: str, data: bytes) -> str:
        return self._compare_and_write(name, data, "0")

    def replace_if(self, name: str, data: bytes, version: str) -> str:
        return self._compare_and_write(name, data, version)

    @property
    def retention(self) -> timedelta | None:
        return self.settings.lock_for

    def retained_until(self, name: str) -> datetime | None:
        return self._ends_of(self._full(name))

    def retain(self, name: str, until: datetime) -> None:
        full, ends_s = self._full(name), self.calls.ends_s()
        values = orjson.dumps({"retention": self._retention_until(until)})
        self.calls.again(
            lambda: self.calls.ask(
                f"retain {name}",
                "PATCH",
                self.calls.objects_url(full, fields="retention"),
                headers={"Content-Type": "application/json"},
                body=values,
                ends_s=ends_s,
            ),
            ends_s=ends_s,
        )

    def _retention_until(self, until: datetime) -> dict[str, str | None]:
        return {
            "mode": self.settings.lock_mode or _MODES["governance"],
            "retainUntilTime": f"{until.astimezone(UTC):%Y-%m-%dT%H:%M:%S}Z",
        }

    def inspect(self) -> Inspection:
        locks = self.settings.lock_for is not None
        return inspect_bucket(self.calls, self.settings.prefix, self._clock, locks=locks)

    def clock_skew_s(self) -> float | None:
        return skew_seen(self.calls, self._clock)

    def _compare_and_write(self, name: str, data: bytes, version: str) -> str:
        """The new generation. `writer` tells our own write, whose answer was lost, from others'."""
        writer = secrets.token_hex(16)
        try:
            return self._write(
                name,
                data,
                len(data),
                {"metadata": {_WRITER: writer}},
                {"ifGenerationMatch": version},
            )
        except Unmet:
            pass
        try:
            found = about(self.calls, self._full(name), FIELDS, ends_s=self.calls.ends_s())
        except ObjectMissing:
            found = {}
        if (found.get("metadata") or {}).get(_WRITER) == writer:
            return str(found.get("generation"))
        raise VersionChanged(
            f"{self._name}: {name} was written by another", hint="read it again and decide anew"
        )

    def _write(
        self,
        name: str,
        data: Buffer | Iterable[Buffer],
        size_bytes: int,
        extra: Mapping[str, Any],
        query: Mapping[str, Any],
    ) -> str:
        full = self._full(name)
        settings = self.settings
        resource: dict[str, Any] = dict(extra)
        if settings.storage_class:
            resource["storageClass"] = settings.storage_class
        if name.startswith(LOCKED_BELOW):
            if settings.lock_for is not None:
                until = self._clock.now() + settings.lock_for
                resource["retention"] = self._retention_until(until)
            if settings.hold:
                resource["temporaryHold"] = True
        return upload(
            self.calls,
            full,
            data,
            size_bytes,
            resource=resource,
            query={**query, "kmsKeyName": settings.kms_key},
        )

    def _delete(self, full: str, name: str) -> None:
        ends_s, url = self.calls.ends_s(), self.calls.objects_url(full)
        gone = frozenset({200, 204})
        with suppress(ObjectMissing):
            self.calls.again(
                lambda: self.calls.ask(f"delete {name}", "DELETE", url, expect=gone, ends_s=ends_s),
                ends_s=ends_s,
            )

    def _retained_until(self, full: str) -> datetime | None:
        """When the retention of the object ends, its own or the bucket's; None for a hold."""
        try:
            return self._ends_of(full)
        except DrkitError:
            return None

    def _ends_of(self, full: str) -> datetime | None:
        fields = "retention,retentionExpirationTime"
        found = about(self.calls, full, fields, ends_s=self.calls.ends_s())
        own = (found.get("retention") or {}).get("retainUntilTime")
        ends = [end for end in (own, found.get("retentionExpirationTime")) if end]
        try:
            return max((datetime.fromisoformat(end) for end in ends), default=None)
        except (ValueError, TypeError):
            return None

    def _read_whole(self, full: str) -> tuple[bytes, Mapping[str, str]]:
        ends_s = self.calls.ends_s(_MOST_WHOLE_BYTES)
        return self.calls.again(lambda: read_whole(self.calls, full, ends_s=ends_s), ends_s=ends_s)

    def _full(self, name: str) -> str:
        check_name(self._name, name)
        return self.settings.prefix + name
