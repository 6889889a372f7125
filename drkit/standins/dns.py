"""An authoritative DNS server on one loopback address, UDP and TCP, that takes signed updates.

    python -m drkit.standins.dns --host 127.0.0.1 --port 5353 --data DIR --zone example.org
        --key-name drkit --key-file FILE [--key-algorithm hmac-sha256]

DIR holds one master file per zone. The key file holds the TSIG secret in base64. Updates without a
signature are REFUSED; with a wrong one they get NOTAUTH and the TSIG error (RFC 8945, 5.2).
"""

from __future__ import annotations

import argparse
import signal
import socketserver
import struct
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdatatype
import dns.rrset
import dns.tsig
import dns.update

from drkit.standins.dns_zone import Refused, Zone

UDP_MOST_BYTES = 1232
TCP_IDLE_S = 10
TSIG_ERRORS = {
    dns.tsig.BadSignature: dns.rcode.BADSIG,
    dns.tsig.BadTime: dns.rcode.BADTIME,
    dns.tsig.BadKey: dns.rcode.BADKEY,
    dns.tsig.BadAlgorithm: dns.rcode.BADKEY,
    dns.message.UnknownTSIGKey: dns.rcode.BADKEY,
}


class Authority:
    """Zones and the key that may change them."""

    def __init__(self, zones: Iterable[Zone], key: dns.tsig.Key) -> None:
        self._zones = sorted(zones, key=lambda zone: -len(zone.origin))
        self._keys = {key.name: key}

    def respond(self, wire: bytes, *, most_bytes: int = 65535) -> bytes | None:
        """The answer to one message; None where even its header makes no sense."""
        if len(wire) < 12 or wire[2] & 0x80:
            return None
        try:
            query = dns.message.from_wire(wire, keyring=self._keys)
        except tuple(TSIG_ERRORS) as error:
            return _not_authentic(wire, TSIG_ERRORS[type(error)])
        except dns.exception.DNSException:
            return _header_only(wire, dns.rcode.FORMERR)
        response = dns.message.make_response(query, recursion_available=False)
        if query.opcode() == dns.opcode.UPDATE:
            assert isinstance(query, dns.update.UpdateMessage)
            self._update(query, response)
        elif query.opcode() == dns.opcode.QUERY:
            self._answer(query, response)
        else:
            response.set_rcode(dns.rcode.NOTIMP)
        try:
            return response.to_wire(max_size=most_bytes)
        except dns.exception.TooBig:
            response.flags |= dns.flags.TC
            response.answer, response.authority = [], []
            return response.to_wire()

    def _answer(self, query: dns.message.Message, response: dns.message.Message) -> None:
        if len(query.question) != 1:
            response.set_rcode(dns.rcode.FORMERR)
            return
        question = query.question[0]
        zone = self._zone_of(question.name)
        if zone is None or question.rdtype in (dns.rdatatype.AXFR, dns.rdatatype.IXFR):
            response.set_rcode(dns.rcode.REFUSED)
            return
        response.flags |= dns.flags.AA
        zone.answer(response, question)

    def _update(self, query: dns.update.UpdateMessage, response: dns.message.Message) -> None:
        if not query.had_tsig:
            response.set_rcode(dns.rcode.REFUSED)
            return
        zone = self._zone_of(query.zone[0].name) if query.zone else None
        if zone is None or query.zone[0].name != zone.origin:
            response.set_rcode(dns.rcode.NOTAUTH)
            return
        try:
            zone.update(query)
        except Refused as refusal:
            response.set_rcode(refusal.rcode)

    def _zone_of(self, name: dns.name.Name) -> Zone | None:
        return next((zone for zone in self._zones if name.is_subdomain(zone.origin)), None)


def _header_only(wire: bytes, rcode: dns.rcode.Rcode) -> bytes:
    flags = 0x8000 | (int.from_bytes(wire[2:4], "big") & 0x7900) | int(rcode)
    return wire[:2] + struct.pack("!HHHHH", flags, 0, 0, 0, 0)


def _not_authentic(wire: bytes, error: dns.rcode.Rcode) -> bytes:
    """NOTAUTH with an unsigned TSIG record that carries the error."""
    try:
        query = dns.message.from_wire(wire, keyring=False)
    except dns.exception.DNSException:
        return _header_only(wire, dns.rcode.FORMERR)
    assert query.tsig is not None
    response = dns.message.make_response(query, recursion_available=False)
    response.set_rcode(dns.rcode.NOTAUTH)
    unsigned = query.tsig[0].replace(
        mac=b"", error=int(error), time_signed=int(time.time()), other=b""
    )
    response.tsig = dns.rrset.from_rdata(query.tsig.name, 0, unsigned)
    response.want_tsig_sign = False
    return response.to_wire()


class _Udp(socketserver.ThreadingUDPServer):
    allow_reuse_address = False
    daemon_threads = True
    authority: Authority


class _Tcp(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    authority: Authority


class _UdpHandler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, _Udp)
        wire, socket = self.request
        if (answer := self.server.authority.respond(wire, most_bytes=UDP_MOST_BYTES)) is not None:
            socket.sendto(answer, self.client_address)


class _TcpHandler(socketserver.StreamRequestHandler):
    timeout = TCP_IDLE_S

    def handle(self) -> None:
        assert isinstance(self.server, _Tcp)
        try:
            while len(length := self.rfile.read(2)) == 2:
                answer = self.server.authority.respond(self.rfile.read(int.from_bytes(length)))
                if answer is None:
                    return
                self.wfile.write(len(answer).to_bytes(2) + answer)
        except OSError:
            return


def main() -> int:
    parser = argparse.ArgumentParser(prog="drkit.standins.dns")
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--zone", action="append", required=True)
    parser.add_argument("--key-name", required=True)
    parser.add_argument("--key-file", type=Path, required=True)
    parser.add_argument("--key-algorithm", default="hmac-sha256")
    options = parser.parse_args()
    # blocked before any thread starts, so that only the wait at the end takes them
    ending = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ending)
    secret = options.key_file.read_text().strip()
    authority = Authority(
        [Zone(name, options.data / f"{name.rstrip('.')}.zone") for name in options.zone],
        dns.tsig.Key(options.key_name, secret, options.key_algorithm),
    )
    # TCP listens last: who sees it knows that UDP answers too
    with (
        _Udp((options.host, options.port), _UdpHandler) as udp,
        _Tcp((options.host, options.port), _TcpHandler) as tcp,
    ):
        for server in (udp, tcp):
            server.authority = authority
            threading.Thread(target=server.serve_forever, args=(0.2,), daemon=True).start()
        print(f"serving {', '.join(options.zone)} on {options.host}:{options.port}", flush=True)
        signal.sigwait(ending)
    return 0


if __name__ == "__main__":
    sys.exit(main())
