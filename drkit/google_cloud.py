"""Google's session on drkit's own connections: its tokens, our deadlines, proxy and authorities.

The one place that knows Google's libraries. `AuthorizedSession` adds and renews the token;
what it sends goes through `Wire`, and so does what the client for bucket settings sends.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast
from urllib.parse import urlsplit

import google.auth
import google.auth.exceptions
import google.auth.identity_pool
import google.oauth2.credentials
import google_crc32c
import requests
import requests.adapters
from google.auth.credentials import AnonymousCredentials, Signing
from google.auth.transport.requests import AuthorizedSession, Request
from google.oauth2 import service_account

from drkit.clock import Clock
from drkit.errors import ConfigError, MissingCredential
from drkit.http_wire import Reply, ReplyBody, Wire
from drkit.io_policy import STORE_REQUEST
from drkit.pace import Allowance

if TYPE_CHECKING:
    from google.auth.credentials import Credentials
    from google.cloud.storage import Client

# What a credential may do is for IAM to say; these scopes narrow nothing below that.
STORAGE = "https://www.googleapis.com/auth/devstorage.full_control"
ANY_SERVICE = "https://www.googleapis.com/auth/cloud-platform"
_MOST_KEY_BYTES = 64 * 1024

TransportError = google.auth.exceptions.TransportError
GoogleAuthError = google.auth.exceptions.GoogleAuthError


class Session(Protocol):
    """`AuthorizedSession`, as far as it is used; `timeout=` takes an `Allowance`."""

    credentials: Any

    def request(
        self, method: str, url: str, *, data: Any, headers: Any, timeout: Any, **more: Any
    ) -> requests.Response: ...


def open_session(credentials: Credentials, wire: Wire, clock: Clock) -> Session:
    """A session that may be shared by threads."""
    adapter = _WireAdapter(wire, clock)
    tokens = requests.Session()
    session = AuthorizedSession(credentials, auth_request=Request(tokens))
    for each in (tokens, session):
        each.trust_env = False
        each.headers["Accept-Encoding"] = "identity"
        each.mount("https://", adapter)
        each.mount("http://", adapter)
    return cast(Session, session)


def load_credentials(
    written: str | None, *, anonymous: bool, field: str, scope: str = STORAGE
) -> Credentials:
    """Those of a key file's path or text; without one, this machine's own (`gcloud auth
    application-default login`, or the metadata server), or none at all if `anonymous`.
    """
    if written is None:
        if anonymous:
            return AnonymousCredentials()
        try:
            own, _project = google.auth.default(scopes=(scope,))
        except google.auth.exceptions.DefaultCredentialsError as error:
            raise MissingCredential(
                f"a credential is missing: {field} is not set, nor has this machine any",
                hint="name a service account's key file there",
            ) from error
        return own
    values = _key_values(written, field)
    try:
        return _of_type(values, scope)
    except (ValueError, KeyError, google.auth.exceptions.GoogleAuthError) as error:
        # The library's message may quote the key.
        raise _bad_key(field, f"is not what Google takes ({type(error).__name__})") from None


def _of_type(values: dict[str, Any], scope: str) -> Credentials:
    """By the types that read what they need and run nothing. ValueError for any other."""
    found: Credentials
    match values.get("type"):
        case "service_account":
            found = service_account.Credentials.from_service_account_info(values, scopes=(scope,))
        case "authorized_user":
            found = google.oauth2.credentials.Credentials.from_authorized_user_info(
                values, scopes=(scope,)
            )
        case "external_account":
            found = google.auth.identity_pool.Credentials.from_info(values, scopes=(scope,))
        case _:
            raise ValueError("another type of credentials")
    return found


def may_sign(session: Session) -> bool:
    """Whether its credentials hold a private key, by which URLs are signed without asking."""
    return isinstance(session.credentials, Signing) and not isinstance(
        session.credentials, AnonymousCredentials
    )


def sign_url(session: Session, endpoint: str, bucket: str, name: str, expires_s: float) -> str:
    """A V4 signed URL that reads the object. Nothing is asked of anyone."""
    from datetime import timedelta

    blob = open_client(session, endpoint).bucket(bucket).blob(name)
    url = blob.generate_signed_url(
        version="v4",
        expiration=timedelta(seconds=expires_s),
        method="GET",
        api_access_endpoint=endpoint,
        credentials=session.credentials,
    )
    return str(url)


def open_client(session: Session, endpoint: str) -> Client:
    """Google's client for what is about the bucket and not about its objects' bytes."""
    from google.cloud.storage import Client

    return Client(
        project="-",
        credentials=session.credentials,
        _http=session,
        client_options={"api_endpoint": endpoint},
    )


def _key_values(written: str, field: str) -> dict[str, Any]:
    text = written
    if not written.lstrip().startswith("{"):
        path = Path(written).expanduser()
        try:
            with path.open("rb") as file:
                text = file.read(_MOST_KEY_BYTES).decode()
        except FileNotFoundError:
            raise MissingCredential(
                f"a credential is missing: {field} names {path}, which does not exist",
                hint="download the service account's key as JSON and put it there",
            ) from None
        except (OSError, ValueError) as error:
            raise _bad_key(field, f"names {path}, which cannot be read: {error}") from None
    try:
        values = json.loads(text)
    except ValueError:
        raise _bad_key(field, "is neither the path of a key file nor its JSON text") from None
    if not isinstance(values, dict):
        raise _bad_key(field, "is JSON, but no key")
    return values


def _bad_key(field: str, what: str) -> ConfigError:
    return ConfigError(
        f"{field} {what}",
        hint="it is the path of a service account's key file (JSON), or that file's text",
    )


def crc32c(data: bytes, *, after: int = 0) -> int:
    """CRC32C of `data`, or of what came before it (`after`: its CRC32C) and `data`."""
    return int(google_crc32c.extend(after, data))


class Body:
    """What is sent: pieces in a row, which may be sent again from the start."""

    def __init__(self, pieces: list[bytes | bytearray | memoryview]) -> None:
        self._pieces = pieces
        self._size_bytes = sum(memoryview(piece).nbytes for piece in pieces)

    def __iter__(self) -> Iterator[bytes | bytearray | memoryview]:
        return iter(self._pieces)

    def __len__(self) -> int:
        return self._size_bytes


class _WireAdapter(requests.adapters.BaseAdapter):
    def __init__(self, wire: Wire, clock: Clock) -> None:
        super().__init__()
        self._wire = wire
        self._clock = clock

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: Any = None,
    ) -> requests.Response:
        url, body = request.url or "", request.body
        if not isinstance(timeout, Allowance):
            timeout = Allowance(STORE_REQUEST, self._clock)
        pieces: Any = body if isinstance(body, Body) else [_as_bytes(body)] if body else ()
        headers = {name: _as_text(value) for name, value in request.headers.items()}
        headers["Host"] = urlsplit(url).netloc
        reply = self._wire.send(request.method or "GET", url, headers, pieces, allowance=timeout)
        return _response(request, reply)

    def close(self) -> None:
        """The wire is closed by whoever opened it."""


def _response(request: requests.PreparedRequest, reply: Reply) -> requests.Response:
    response = requests.Response()
    response.status_code = reply.status
    response.headers = requests.structures.CaseInsensitiveDict(reply.headers)
    response.url = request.url or ""
    response.request = request
    response.raw = _Raw(reply.body)
    if reply.status >= 400:
        # Read at once: the session may throw it away and ask again with a new token.
        response.content  # noqa: B018
    return response


class _Raw:
    """What `requests` wants to read an answer from."""

    def __init__(self, body: ReplyBody) -> None:
        self.read = body.read
        self.close = body.close
        self._stream: Callable[[], Iterator[bytes]] = body.stream

    def stream(self, _amount: int, *, decode_content: bool) -> Iterator[bytes]:
        return self._stream()


def _as_bytes(body: Any) -> bytes:
    return body.encode() if isinstance(body, str) else bytes(body)


def _as_text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
