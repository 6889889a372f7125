"""HTTP clients: the one place that knows the library, and how TLS and time-outs are set."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from drkit.errors import PlaceError
from drkit.io_policy import Deadline

if TYPE_CHECKING:
    import httpx


class NoAnswer(PlaceError):
    """No whole answer came. `sent`: the request may have had its effect; look before repeating.

    `timed_out`: the place is there and slow, or hangs; otherwise the connection was refused or cut.
    """

    def __init__(self, message: str, *, hint: str, sent: bool, timed_out: bool) -> None:
        super().__init__(message, hint=hint)
        self.sent = sent
        self.timed_out = timed_out


@contextmanager
def answering(place: str) -> Iterator[None]:
    """Turns the library's errors in its body into `NoAnswer`, in words that name `place`."""
    import httpx

    try:
        yield
    except (httpx.TransportError, httpx.InvalidURL, httpx.DecodingError) as error:
        timed_out = isinstance(error, httpx.TimeoutException)
        unsent = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.InvalidURL)
        what = "did not answer in time" if timed_out else f"gave no answer ({error})"
        raise NoAnswer(
            f"{place} {what}",
            hint="see that it runs and can be reached from here, then run the command again",
            sent=not isinstance(error, unsent),
            timed_out=timed_out,
        ) from error


def open_client(
    base_url: str,
    deadline: Deadline,
    *,
    headers: dict[str, str] | None = None,
    trust: str | None = None,
) -> httpx.Client:
    """A thread-safe client with pooled connections; the caller closes it. TLS is verified,
    against the certificates in the PEM file `trust` where one is given (`NoAnswer` without it).

    Redirects are not followed and proxies come from the environment, but never for loopback.
    """
    import ssl

    import httpx

    # Plain HTTP speaks no TLS and is not led to where it would be: reading all the certificates
    # that this machine trusts would be most of a small request's work.
    verify: ssl.SSLContext | bool = not base_url.startswith("http://")
    if trust is not None:
        try:
            verify = ssl.create_default_context(cafile=trust)
        except (OSError, ssl.SSLError) as error:
            raise NoAnswer(
                f"{trust} holds no certificate that could be trusted ({error})",
                hint="name a PEM file with the server's certificate, or that of who issued it",
                sent=False,
                timed_out=False,
            ) from error
    return httpx.Client(
        base_url=base_url,
        headers=headers,
        verify=verify,
        timeout=httpx.Timeout(deadline.total_s, connect=deadline.connect_s),
        trust_env=not is_loopback(base_url),
    )


def open_async_client(deadline: Deadline) -> httpx.AsyncClient:
    """A client for one event loop, for proxies; `deadline.total_s` bounds each silence.

    Redirects are not followed, and the environment names no proxy to it. TLS is verified.
    """
    import httpx

    return httpx.AsyncClient(
        timeout=httpx.Timeout(deadline.total_s, connect=deadline.connect_s), trust_env=False
    )


def is_loopback(url: str) -> bool:
    """Whether `url` is of a server on this machine."""
    host = url.split("://", 1)[-1].split("/", 1)[0].rsplit(":", 1)[0].strip("[]")
    return host == "localhost" or host == "::1" or host.startswith("127.")


def call_json(
    base_url: str,
    method: str,
    path: str,
    deadline: Deadline,
    *,
    headers: dict[str, str] | None = None,
    body: object = None,
) -> Any:
    """The JSON that one request is answered with. Raises `PlaceError` for anything else."""
    place = f"{method} {base_url}{path}"
    with open_client(base_url, deadline, headers=headers) as client, answering(place):
        reply = client.request(method, path, json=body)
        if not reply.is_success:
            raise PlaceError(
                f"{place}: {reply.status_code} {reply.text[:200]}",
                hint="look at that server's log",
            )
        try:
            return reply.json()
        except ValueError:
            raise PlaceError(f"{place}: no JSON", hint="look at that server's log") from None
