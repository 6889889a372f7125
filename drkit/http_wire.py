"""HTTP/1.1 over sockets that are closed when their time is up (S10): for SDKs that make their own
requests and lack this. TLS 1.2+ is verified; redirects are not followed; no setting is taken from
the environment.

A library's read time-out is per silence: a server that drips a byte now and then outlives it. Here
each call on the socket gets what is left of the whole request, and the time grows only with bytes.
"""

from __future__ import annotations

import contextlib
import http.client
import select
import ssl
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from drkit.clock import Clock
from drkit.http_client import NoAnswer
from drkit.metered_socket import Buffer, MeteredSocket
from drkit.pace import Allowance, Throttle

MOST_TEXT_BYTES = 64 * 1024 * 1024
_TEXT_SLICE_BYTES = 256 * 1024
_MOST_IDLE = 16
_IDLE_S = 30.0


@dataclass(frozen=True, slots=True)
class Route:
    """How a server is reached; a `proxy` is an http URL, `ca_file` replaces the system's."""

    proxy: str | None = None
    ca_file: str | None = None


class Headers(Mapping[str, str]):
    """Of an answer, by name in any case; those that came twice are joined by commas."""

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self._values: dict[str, str] = {}
        for name, value in pairs:
            key = name.lower()
            self._values[key] = f"{self._values[key]}, {value}" if key in self._values else value

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: ReplyBody


class Wire:
    """A pool of connections to any server along one route; calls may come from many threads."""

    def __init__(
        self,
        route: Route,
        *,
        clock: Clock,
        sending: Throttle | None = None,
        receiving: Throttle | None = None,
    ) -> None:
        self._route = route
        self._clock = clock
        self._limits = (sending, receiving)
        self._lock = threading.Lock()
        self._idle: dict[tuple[str, str], list[tuple[float, _Connection]]] = {}
        self._busy: set[_Connection] = set()
        self._tls: ssl.SSLContext | None = None

    def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Iterable[Buffer],
        *,
        allowance: Allowance,
    ) -> Reply:
        """The answer's head; its body is still to be read, or closed. Raises `NoAnswer`.

        `headers` are sent as they are: `Host`, and `Content-Length` where there is a body.
        """
        parts = urlsplit(url)
        connection = self._connection(parts, allowance)
        place = f"{parts.scheme}://{parts.netloc}"
        with _told(place, connection):
            try:
                response = connection.ask(method, _target(parts, self._route), headers, body)
            except BaseException:
                self.drop(connection)
                raise
        reply = ReplyBody(self, connection, response, place)
        return Reply(response.status, Headers(response.getheaders()), reply)

    def close(self) -> None:
        """Closes all connections; whoever waits on one gets `NoAnswer` at once."""
        with self._lock:
            connections = [item for idle in self._idle.values() for _, item in idle]
            connections += self._busy
            self._idle.clear()
            self._busy.clear()
        for connection in connections:
            connection.cut()

    def drop(self, connection: _Connection) -> None:
        with self._lock:
            self._busy.discard(connection)
        connection.close()

    def keep(self, connection: _Connection) -> None:
        """Keeps a connection whose answer was read to its end for the next request."""
        with self._lock:
            idle = self._idle.setdefault(connection.key, [])
            if connection in self._busy and len(idle) < _MOST_IDLE:
                self._busy.discard(connection)
                idle.append((self._clock.elapsed_s(), connection))
                return
        self.drop(connection)

    def _connection(self, parts: SplitResult, allowance: Allowance) -> _Connection:
        while (kept := self._kept((parts.scheme, parts.netloc))) is not None:
            kept_s, connection = kept
            if self._clock.elapsed_s() - kept_s < _IDLE_S and connection.is_quiet():
                connection.allow(allowance)
                return connection
            self.drop(connection)
        tls = self._context() if parts.scheme == "https" else None
        connection = _Connection(parts, self._route, tls, allowance, self._limits)
        with self._lock:
            self._busy.add(connection)
        return connection

    def _kept(self, key: tuple[str, str]) -> tuple[float, _Connection] | None:
        with self._lock:
            if not (idle := self._idle.get(key)):
                return None
            kept = idle.pop()
            self._busy.add(kept[1])
            return kept

    def _context(self) -> ssl.SSLContext:
        with self._lock:
            if self._tls is None:
                self._tls = ssl.create_default_context(cafile=self._route.ca_file)
                self._tls.minimum_version = ssl.TLSVersion.TLSv1_2
            return self._tls


class ReplyBody:
    """The bytes of one answer; its connection is kept once they were all read."""

    def __init__(
        self, wire: Wire, connection: _Connection, response: http.client.HTTPResponse, place: str
    ) -> None:
        self._wire = wire
        self._connection: _Connection | None = connection
        self._response = response
        self._place = place
        if response.isclosed():  # there is no body
            self._end()

    def read(self, amount: int | None = None) -> bytes:
        """Up to `amount` bytes, or all that are left; fewer than announced is `NoAnswer`."""
        if self._connection is None:
            return b""
        with _told(self._place, self._connection):
            try:
                data = self._response.read(amount)
            except BaseException:
                self.close()
                raise
        missing = self._response.length
        if amount and missing and len(data) < amount:
            # With an amount, the library takes a broken connection for the end.
            self.close()
            raise _no_answer(self._place, f"broke off {missing} bytes early", timed_out=False)
        if self._response.isclosed():
            self._end()
        return data

    def stream(self) -> Iterator[bytes]:
        """All of it; for texts: more than 64 MiB is `NoAnswer`."""
        count = 0
        while data := self.read(_TEXT_SLICE_BYTES):
            count += len(data)
            if count > MOST_TEXT_BYTES:
                self.close()
                raise _no_answer(self._place, "answered without end", timed_out=False)
            yield data

    def close(self) -> None:
        """Gives up what was not read."""
        if self._connection is not None:
            self._response.close()
            self._wire.drop(self._connection)
            self._connection = None

    def _end(self) -> None:
        if self._connection is not None:
            keep = not self._response.will_close
            (self._wire.keep if keep else self._wire.drop)(self._connection)
            self._connection = None


class _Connection(http.client.HTTPConnection):
    """One connection, through a proxy if there is one."""

    def __init__(
        self,
        parts: SplitResult,
        route: Route,
        tls: ssl.SSLContext | None,
        allowance: Allowance,
        limits: tuple[Throttle | None, Throttle | None],
    ) -> None:
        host, port = parts.hostname or "", parts.port or (443 if tls else 80)
        first = urlsplit(route.proxy) if route.proxy else None
        super().__init__(
            *((first.hostname or "", first.port or 3128) if first else (host, port)),
            timeout=allowance.connect_s,
        )
        if first and tls:
            self.set_tunnel(host, port)
        self.key = (parts.scheme, parts.netloc)
        self.sent = False
        self._server_name = host
        self._tls = tls
        self._limits = limits
        self._allowance = allowance
        self._metered: MeteredSocket | None = None

    def allow(self, allowance: Allowance) -> None:
        self._allowance = allowance
        self.sent = False
        if self._metered is not None:
            self._metered.allowance = allowance

    def connect(self) -> None:
        super().connect()
        if self._tls is not None:
            self.sock = self._tls.wrap_socket(self.sock, server_hostname=self._server_name)
        self._metered = MeteredSocket(self.sock, self._allowance, *self._limits)
        self.sock = self._metered

    def ask(
        self, method: str, target: str, headers: Mapping[str, str], body: Iterable[Buffer]
    ) -> http.client.HTTPResponse:
        if self.sock is None:
            self.connect()
        self.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
        for name, value in headers.items():
            self.putheader(name, value)
        self.sent = True
        try:
            self.endheaders()
            for piece in body:
                self.sock.sendall(piece)
        except (BrokenPipeError, ConnectionResetError):
            # A server that refuses may say so and close before it has read everything.
            with contextlib.suppress(OSError, http.client.HTTPException):
                return self.getresponse()
            raise
        return self.getresponse()

    def is_quiet(self) -> bool:
        """Whether the server has neither closed it nor said something nobody asked for."""
        if self._metered is None:
            return False
        poll = select.poll()
        poll.register(self._metered.fileno(), select.POLLIN)
        return not poll.poll(0)

    def cut(self) -> None:
        """Ends whatever goes on, from another thread."""
        if self._metered is not None:
            self._metered.cut()


def host_header(url: str) -> str:
    """What `Host` says for `url`, and what is signed: without a port that goes without saying."""
    parts = urlsplit(url)
    usual = ":443" if parts.scheme == "https" else ":80"
    return parts.netloc.rpartition("@")[2].removesuffix(usual)


def _target(parts: SplitResult, route: Route) -> str:
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if route.proxy and parts.scheme == "http":
        return f"{parts.scheme}://{parts.netloc}{target}"
    return target


@contextlib.contextmanager
def _told(place: str, connection: _Connection) -> Iterator[None]:
    """Turns the library's errors into `NoAnswer`; a certificate that is not trusted says so."""
    try:
        yield
    except TimeoutError as error:
        what = "did not answer in time"
        raise _no_answer(place, what, timed_out=True, sent=connection.sent) from error
    except ssl.SSLCertVerificationError as error:
        raise NoAnswer(
            f"{place}: its certificate is not trusted ({error.verify_message})",
            hint="name the authority that signed it (ca_file), and see that the clock is right",
            sent=False,
            timed_out=False,
        ) from error
    except (OSError, http.client.HTTPException) as error:
        what = f"gave no answer ({str(error) or type(error).__name__})"
        raise _no_answer(place, what, timed_out=False, sent=connection.sent) from error


def _no_answer(place: str, what: str, *, timed_out: bool, sent: bool = True) -> NoAnswer:
    return NoAnswer(
        f"{place} {what}",
        hint="see that it runs and can be reached from here, then run the command again",
        sent=sent,
        timed_out=timed_out,
    )
