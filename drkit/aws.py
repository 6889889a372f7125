"""AWS clients: the one place that knows boto3, for S3, what speaks its language, and Route 53.

Requests leave by a `Wire`, so that each has its allowance (S10); the library's own retries are off
and no setting but the arguments is taken from files or the environment.
"""

from __future__ import annotations

import base64
import hashlib
import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from io import UnsupportedOperation
from typing import Any, Literal

from drkit.errors import PlaceError
from drkit.http_client import NoAnswer
from drkit.http_wire import Wire, host_header
from drkit.metered_socket import Buffer
from drkit.pace import Allowance


@dataclass(slots=True)
class _Turn:
    """One call: what its one request may take, and whether that was sent."""

    allowance: Allowance
    sent: bool = False


_TURN: ContextVar[_Turn] = ContextVar("one call of an AWS client")
_OPENING = threading.Lock()  # making clients is not thread-safe
_EMPTY: tuple[Buffer, ...] = ()


@dataclass(frozen=True, slots=True)
class AwsKeys:
    key_id: str
    secret: str = field(repr=False)
    token: str | None = field(default=None, repr=False)


class AwsRefused(PlaceError):
    """The service answered with an error; `after_s`: it wants to be asked again after that."""

    def __init__(self, place: str, status: int, code: str, text: str, after_s: float | None):
        said = f": {text}" if text else ""
        super().__init__(f"{place}: {status} {code}{said}"[:500], hint="look the code up there")
        self.status = status
        self.code = code
        self.after_s = after_s


class Pieces:
    """A body in several buffers, sent without joining them. What the library asks of a file."""

    def __init__(self, buffers: Sequence[Buffer], going: Iterable[Buffer] | None = None) -> None:
        """`going` is what is sent in the place of `buffers`: the same bytes, again each time."""
        self.going = buffers if going is None else going
        self._size_bytes = sum(memoryview(buffer).nbytes for buffer in buffers)

    def __len__(self) -> int:
        return self._size_bytes

    def __bool__(self) -> bool:
        return True

    def read(self, _amount: int = -1) -> bytes:
        raise UnsupportedOperation("a body is neither signed nor hashed by the library")


class AwsClient:
    """One service in one place. Thread-safe; the library is loaded at the first call."""

    def __init__(
        self,
        service: Literal["s3", "route53", "secretsmanager"],
        *,
        region: str,
        keys: AwsKeys,
        wire: Wire,
        endpoint: str | None = None,
        addressing: Literal["auto", "path", "virtual"] = "auto",
        takes_crc32: bool = True,
    ) -> None:
        """`takes_crc32`: else what must carry a checksum carries Content-MD5."""
        self._service = service
        self._region = region
        self._keys = keys
        self.wire = wire
        self._endpoint = endpoint
        self._addressing = addressing
        self._takes_crc32 = takes_crc32
        self._opened: Any = None

    @property
    def place(self) -> str:
        return self._endpoint or f"{self._service} in {self._region}"

    def open(self) -> None:
        """Loads the library, so that no request's time is spent on it. May be called twice."""
        self._client()

    def call(self, operation: str, allowance: Allowance, **arguments: object) -> dict[str, Any]:
        """The parsed answer, with `ResponseMetadata`. Raises `AwsRefused` and `NoAnswer`.

        A `Body` in it is still to be read, by `read_body`.
        """
        client = self._client()
        before = _TURN.set(_Turn(allowance))
        try:
            with _told(self.place):
                answer: dict[str, Any] = getattr(client, operation)(**arguments)
                return answer
        finally:
            _TURN.reset(before)

    def read_body(self, answer: Mapping[str, Any]) -> bytes:
        """The whole body, which is as long as announced. Raises `NoAnswer`."""
        with _told(self.place):
            data: bytes = answer["Body"].read()
            return data

    def presign(self, operation: str, expires_s: int, **arguments: object) -> str:
        """A URL that does `operation` for whoever has it. Nothing is asked of the service."""
        with _told(self.place):
            url: str = self._client().generate_presigned_url(
                operation, Params=arguments, ExpiresIn=expires_s
            )
            return url

    def close(self) -> None:
        self.wire.close()

    def _client(self) -> Any:
        if self._opened is None:
            with _OPENING:
                if self._opened is None:
                    self._opened = self._make()
        return self._opened

    def _make(self) -> Any:
        import botocore.config

        client = _session().client(
            self._service,
            region_name=self._region,
            aws_access_key_id=self._keys.key_id,
            aws_secret_access_key=self._keys.secret,
            aws_session_token=self._keys.token,
            endpoint_url=self._endpoint,
            config=botocore.config.Config(
                # The library's checksums are trailers, which B2 refuses: ours are headers.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                retries={"mode": "standard", "total_max_attempts": 1},
                signature_version="s3v4" if self._service == "s3" else None,
                # Our checksum's header is signed in the body's stead.
                s3={"payload_signing_enabled": False, "addressing_style": self._addressing},
                ignore_configured_endpoint_urls=True,
            ),
        )
        client.meta.events.register(f"before-send.{self._service}", self._send)
        if not self._takes_crc32:
            client.meta.events.register(f"before-call.{self._service}", _use_md5)
        return client

    def _send(self, request: Any, **_unused: object) -> Any:
        """What the library calls instead of its own HTTP client."""
        from botocore.awsrequest import AWSResponse

        turn = _TURN.get()
        if turn.sent:
            # The library would look for the bucket elsewhere, for ever if the server likes.
            raise AwsRefused(self.place, 301, "PermanentRedirect", "it is elsewhere", None)
        turn.sent = True
        headers = {name: _text(value) for name, value in request.headers.items()}
        # Waiting for a 100 costs a second at each server that never says it.
        headers.pop("Expect", None)
        headers.setdefault("Host", host_header(request.url))
        reply = self.wire.send(
            request.method,
            request.url,
            headers,
            _buffers(request.body),
            allowance=turn.allowance,
        )
        return AWSResponse(request.url, reply.status, reply.headers, reply.body)


@cache
def _session() -> Any:
    """One for all clients, since it holds the parsed descriptions of the services."""
    import boto3.session
    import botocore.session

    alone = botocore.session.Session(
        session_vars={
            "profile": (None, None, None, None),
            "config_file": (None, None, os.devnull, None),
            "credentials_file": (None, None, os.devnull, None),
        }
    )
    return boto3.session.Session(botocore_session=alone)


def _use_md5(params: Any, **_unused: object) -> None:
    """Puts Content-MD5 in the place of a CRC32 that the library insists on."""
    checksum = params["context"].get("checksum", {})
    if checksum.pop("request_algorithm", None) and isinstance(params["body"], bytes):
        checksum.pop("request_algorithm_header", None)
        digest = hashlib.md5(params["body"], usedforsecurity=False).digest()
        params["headers"]["Content-MD5"] = base64.b64encode(digest).decode()


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _buffers(body: object) -> Iterable[Buffer]:
    match body:
        case None:
            return _EMPTY
        case Pieces():
            return body.going
        case str():
            return (body.encode(),)
        case bytes() | bytearray():
            return (body,)
        case _:
            raise TypeError(f"a body of type {type(body).__name__} is not sent here")


@contextmanager
def _told(place: str) -> Iterator[None]:
    """Turns the library's errors into `AwsRefused` and `NoAnswer`."""
    from botocore.exceptions import (
        ClientError,
        IncompleteReadError,
        ResponseStreamingError,
    )
    from botocore.parsers import ResponseParserError

    try:
        yield
    except ClientError as error:
        answer: Mapping[str, Any] = error.response
        told, meta = answer.get("Error", {}), answer.get("ResponseMetadata", {})
        raise AwsRefused(
            place,
            int(meta.get("HTTPStatusCode", 0)),
            str(told.get("Code", "")),
            str(told.get("Message", "")),
            _seconds(meta.get("HTTPHeaders", {}).get("retry-after")),
        ) from error
    except (IncompleteReadError, ResponseStreamingError, ResponseParserError) as error:
        raise NoAnswer(
            f"{place} broke off its answer ({str(error)[:200]})",
            hint="see that it runs and can be reached from here, then run the command again",
            sent=True,
            timed_out=False,
        ) from error


def _seconds(text: str | None) -> float | None:
    """Retry-After in seconds; a date, which no store sends, is passed over."""
    return float(text) if text is not None and text.isascii() and text.isdigit() else None
