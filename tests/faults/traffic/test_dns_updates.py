"""Name servers that take an update and never say so: what they show then counts (R5)."""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import dns.message
import dns.opcode
import dns.rrset
import dns.zone
import pytest

from drkit.compute.interface import Endpoint
from drkit.io_policy import Deadline
from drkit.secrets.interface import Secret
from drkit.traffic import rfc2136
from drkit.traffic.interface import SwitchFailed, SwitchUnknown, ToSite
from drkit.traffic.rfc2136 import Key, Rfc2136Record

TARGET = ToSite("coreweave", Endpoint("http", "192.0.2.1", 8000))
NAME = "llm.example.org"


class NameServer:
    """Answers questions; an update is taken (`takes`) and then the line is cut, or nothing said."""

    def __init__(self) -> None:
        self.address = "192.0.2.9"
        self.takes = False
        self.hangs = False

    def serve(self, line: socket.socket) -> None:
        with line:
            (size,) = struct.unpack("!H", line.recv(2))
            wire = line.recv(size)
            if dns.opcode.from_flags(struct.unpack("!H", wire[2:4])[0]) == dns.opcode.UPDATE:
                self.address = "192.0.2.1" if self.takes else self.address
                if self.hangs:
                    line.recv(1)  # nothing comes, until the other side gives up
                return
            answer = dns.message.make_response(dns.message.from_wire(wire))
            answer.flags |= dns.flags.AA
            answer.answer.append(dns.rrset.from_text(f"{NAME}.", 5, "IN", "A", self.address))
            data = answer.to_wire()
            line.sendall(struct.pack("!H", len(data)) + data)


@contextmanager
def serving(server: NameServer) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            while True:
                try:
                    line, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=server.serve, args=(line,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def record(port: int) -> Rfc2136Record:
    key = Key("drkit", Secret("c2VjcmV0IGtleSBvZiB0aGUgdGVzdHMgb25seSAhISE="))
    return Rfc2136Record(
        "dns", zone="example.org", record=NAME, ttl_s=5, server="127.0.0.1", port=port, key=key
    )


@pytest.fixture(autouse=True)
def _soon(monkeypatch) -> None:
    monkeypatch.setattr(rfc2136, "DNS_QUERY", Deadline(connect_s=1, total_s=1))


@pytest.mark.parametrize("hangs", [False, True])
def test_R5_an_update_without_an_answer_that_was_taken_is_done(hangs: bool) -> None:
    server = NameServer()
    server.takes, server.hangs = True, hangs
    with serving(server) as port:
        switch = record(port)
        switch.apply(switch.plan(switch.read(), TARGET))
        assert switch.read().value == "192.0.2.1"


@pytest.mark.parametrize("hangs", [False, True])
def test_R5_an_update_without_an_answer_that_is_not_shown_is_unknown(hangs: bool) -> None:
    server = NameServer()
    server.hangs = hangs
    with serving(server) as port:
        switch = record(port)
        with pytest.raises(SwitchUnknown):
            switch.apply(switch.plan(switch.read(), TARGET))


def test_a_question_without_an_answer_has_changed_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(SwitchFailed) as caught:
        record(silent.getsockname()[1]).read()
    assert not isinstance(caught.value, SwitchUnknown)
