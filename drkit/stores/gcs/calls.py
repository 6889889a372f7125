"""One request to Cloud Storage's JSON API: asked again while that helps, errors in our words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import orjson

from drkit.clock import Clock
from drkit.google_cloud import Body, GoogleAuthError, Session, TransportError
from drkit.http_client import NoAnswer
from drkit.io_policy import STORE_REQUEST, STORE_RETRY, Deadline, Retry, retrying
from drkit.pace import Allowance
from drkit.stores.interface import ObjectMissing, Retained, StoreRefused, StoreUnreachable

T = TypeVar("T")

MOST_ANSWER_BYTES = 32 * 1024 * 1024
_PASSING = frozenset({408, 429, 500, 502, 503, 504})
_SLOW_DOWN = frozenset({"rateLimitExceeded", "userRateLimitExceeded", "backendError"})
_HELD = frozenset({"retentionPolicyNotMet", "objectUnderActiveHold"})


class AskAgain(StoreUnreachable):
    """What may be gone in a moment. `after_s`: when the store wants to be asked again."""

    def __init__(self, message: str, *, hint: str, after_s: float | None = None) -> None:
        super().__init__(message, hint=hint)
        self.after_s = after_s


class Unmet(Exception):
    """412: the object is not of the generation that was named."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer; `body` is read by `read` when it was asked for as a stream."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    read: Callable[[int], bytes]
    drop: Callable[[], None]

    @property
    def json(self) -> dict[str, Any]:
        try:
            values = orjson.loads(self.body)
        except ValueError:
            values = None
        if not isinstance(values, dict):
            raise AskAgain(
                "the answer is no JSON object", hint="ask again; is it the right endpoint?"
            )
        return values


class Calls:
    """The bucket's API. Every method may be called from many threads."""

    def __init__(
        self,
        store: str,
        bucket: str,
        endpoint: str,
        session: Callable[[], Session],
        clock: Clock,
        *,
        deadline: Deadline = STORE_REQUEST,
        retry: Retry = STORE_RETRY,
    ) -> None:
        self.store = store
        self.bucket = bucket
        self.endpoint = endpoint
        self.session = session
        self._clock = clock
        self._deadline = deadline
        self._retry = retry

    def objects_url(self, name: str | None = None, *, upload: bool = False, **query: Any) -> str:
        """The URL of the bucket's objects, or of one; `None`s are left out of the query."""
        folder = "/upload/storage/v1" if upload else "/storage/v1"
        url = f"{self.endpoint}{folder}/b/{quote(self.bucket, safe='')}/o"
        if name is not None:
            url += f"/{quote(name, safe='')}"
        given = {key: value for key, value in query.items() if value is not None}
        return f"{url}?{urlencode(given)}" if given else url

    def ends_s(self, size_bytes: int = 0) -> float:
        """When a call that moves `size_bytes` has to be over, with all its tries."""
        return self._clock.elapsed_s() + self._deadline.for_bytes(size_bytes)

    def again(self, work: Callable[[], T], *, ends_s: float) -> T:
        """What `work` returns; tried again on `AskAgain`, until `ends_s`."""
        return retrying(work, policy=self._retry, on=(AskAgain,), clock=self._clock, ends_s=ends_s)

    def ask(
        self,
        what: str,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Body | bytes | None = None,
        expect: frozenset[int] = frozenset({200}),
        ends_s: float,
        stream: bool = False,
    ) -> Answer:
        """One try. `what` ("read data/1") goes into messages. Raises `AskAgain`, `ObjectMissing`,
        `StoreRefused`, or `Unmet`; with `stream` the caller reads or drops the body.
        """
        allowance = Allowance(self._deadline, self._clock, ends_s=ends_s)
        with_length = dict(headers or {})
        try:
            reply = self.session().request(
                method,
                url,
                data=body,
                headers=with_length,
                timeout=allowance,
                stream=True,
                allow_redirects=False,
            )
            if reply.status_code in expect and stream:
                return Answer(
                    reply.status_code, reply.headers, b"", reply.raw.read, reply.raw.close
                )
            content = reply.content
        except NoAnswer as error:
            raise AskAgain(
                f"{self.store}: cannot {what}: {error.message}", hint=error.hint
            ) from error
        except GoogleAuthError as error:
            raise self._no_token(what, error) from error
        if reply.status_code in expect:
            return Answer(reply.status_code, reply.headers, content, lambda _: b"", reply.close)
        raise self._explained(what, reply.status_code, reply.headers, content)

    def _no_token(self, what: str, error: GoogleAuthError) -> StoreUnreachable | StoreRefused:
        message = f"{self.store}: cannot {what}: no token for its credentials"
        if error.retryable or isinstance(error, TransportError):
            return AskAgain(message, hint="can Google's token server be reached from here?")
        return StoreRefused(
            f"{message}: {str(error)[:200]}",
            hint="is the service account's key still valid, and this machine's clock right?",
        )

    def _explained(
        self, what: str, status: int, headers: Mapping[str, str], content: bytes
    ) -> Exception:
        reason, said = _error_of(content)
        message = f"{self.store}: cannot {what} in gs://{self.bucket}: {status} {said or reason}"
        if status == 412:
            return Unmet(message)
        if status in _PASSING or (status == 403 and reason in _SLOW_DOWN):
            after_s = _after_s(headers)
            if after_s is not None and after_s > self._deadline.total_s:
                hint = f"the store wants to be left alone for {after_s:.0f} s"
                return StoreUnreachable(message, hint=hint)
            return AskAgain(message, hint="the store is busy or ill; try later", after_s=after_s)
        if status == 404:
            if "bucket" in said.lower() and "object" not in said.lower():
                return StoreRefused(
                    message, hint=f"is stores.{self.store}.bucket right, and does it exist?"
                )
            return ObjectMissing(message, hint="read it from another store")
        if status == 400 and ("crc32c" in said.lower() or "md5" in said.lower()):
            return AskAgain(message, hint="the bytes did not arrive as they were sent")
        if reason in _HELD:
            hint = "wait until its retention ends, or release its hold"
            return Retained(message, hint=hint, until=None)
        return StoreRefused(message, hint=_hint(status, reason))

    def read_body(self, what: str, answer: Answer, size_bytes: int) -> bytes:
        """Exactly `size_bytes` of a streamed answer; fewer are `AskAgain`."""
        try:
            data = answer.read(size_bytes)
        except NoAnswer as error:
            raise AskAgain(
                f"{self.store}: cannot {what}: {error.message}", hint=error.hint
            ) from error
        if len(data) != size_bytes:
            answer.drop()
            raise AskAgain(
                f"{self.store}: cannot {what}: {len(data)} of {size_bytes} bytes came",
                hint="try again; see what lies between here and the store",
            )
        return data


def _hint(status: int, reason: str) -> str:
    if status == 401:
        return "the credentials are not taken: make a new key for the service account"
    if "quota" in reason.lower():
        return "raise the project's quota"
    if status == 403:
        return (
            "give the service account the role of docs/how-to/gcs.md on this bucket; "
            "the message says what is missing"
        )
    return "see the message; look at the bucket in the console"


def _error_of(content: bytes) -> tuple[str, str]:
    """(reason, message) of an error answer, in the JSON form or as plain text; both bounded."""
    try:
        error = orjson.loads(content)["error"]
        first = (error.get("errors") or [{}])[0]
        return str(first.get("reason", ""))[:80], str(error.get("message", ""))[:300]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        return "", content[:300].decode(errors="replace").strip()


def _after_s(headers: Mapping[str, str]) -> float | None:
    """Retry-After in seconds; a date in it counts from the server's own Date."""
    value = headers.get("Retry-After")
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        wait = parsedate_to_datetime(value) - parsedate_to_datetime(headers.get("Date", ""))
    except (TypeError, ValueError):
        return None
    return max(0.0, wait.total_seconds())
