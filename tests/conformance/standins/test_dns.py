"""The DNS stand-in against dnspython's client: authority, signed updates, compare-and-set."""

from __future__ import annotations

import base64
import signal
from pathlib import Path
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.tsig
import dns.tsigkeyring
import dns.update
import pytest

Server = Any  # what the fixture `start` gives: .host, .port, .stop()
Start = Any
ZONE, NAME = "example.org", "llm.example.org."
SECRET = base64.b64encode(b"k" * 32).decode()
KEYS = dns.tsigkeyring.from_text({"drkit": SECRET})


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "tsig.key"
    path.write_text(SECRET + "\n")
    return path


def run(start: Start, key_file: Path, folder: Path, port: int | None = None) -> Server:
    options = ["--data", folder, "--zone", ZONE, "--key-name", "drkit", "--key-file", key_file]
    return start("dns", *options, port=port)


@pytest.fixture
def server(start: Start, key_file: Path, tmp_path: Path) -> Server:
    return run(start, key_file, tmp_path / "zones")


def ask(server: Server, name: str = NAME, kind: str = "A", *, tcp: bool = False) -> list[str]:
    send = dns.query.tcp if tcp else dns.query.udp
    answer = send(dns.message.make_query(name, kind), server.host, port=server.port, timeout=5)
    assert answer.flags & dns.flags.AA
    return [rdata.to_text() for rrset in answer.answer for rdata in rrset]


def change(server: Server, update: dns.update.UpdateMessage, *, tcp: bool = True) -> str:
    send = dns.query.tcp if tcp else dns.query.udp
    return dns.rcode.to_text(send(update, server.host, port=server.port, timeout=5).rcode())


def signed() -> dns.update.UpdateMessage:
    return dns.update.UpdateMessage(ZONE, keyring=KEYS, keyalgorithm=dns.tsig.HMAC_SHA256)


def put(server: Server, address: str) -> None:
    update = signed()
    update.replace(NAME, 60, "A", address)
    assert change(server, update) == "NOERROR"


def serial(server: Server) -> int:
    return int(ask(server, f"{ZONE}.", "SOA")[0].split()[2])


def test_a_signed_update_is_answered_at_once_over_udp_and_tcp(server: Server) -> None:
    before = serial(server)
    put(server, "127.0.0.7")
    assert ask(server) == ask(server, tcp=True) == ["127.0.0.7"]
    assert serial(server) == before + 1


def test_an_unsigned_update_is_refused_and_changes_nothing(server: Server) -> None:
    put(server, "127.0.0.7")
    update = dns.update.UpdateMessage(ZONE)
    update.replace(NAME, 60, "A", "127.0.0.66")
    assert change(server, update) == "REFUSED"
    assert change(server, update, tcp=False) == "REFUSED"
    assert ask(server) == ["127.0.0.7"]


@pytest.mark.parametrize(
    ("keys", "error"),
    [
        ({"drkit": base64.b64encode(b"x" * 32).decode()}, dns.tsig.PeerBadSignature),
        ({"stranger": SECRET}, dns.tsig.PeerBadKey),
    ],
)
def test_a_badly_signed_update_is_refused_and_changes_nothing(
    server: Server, keys: dict[str, str], error: type[Exception]
) -> None:
    put(server, "127.0.0.7")
    ring = dns.tsigkeyring.from_text(keys)
    update = dns.update.UpdateMessage(ZONE, keyring=ring, keyalgorithm=dns.tsig.HMAC_SHA256)
    update.replace(NAME, 60, "A", "127.0.0.66")
    with pytest.raises(error):
        change(server, update)
    assert ask(server) == ["127.0.0.7"]


def test_a_prerequisite_that_no_longer_holds_refuses_the_whole_update(server: Server) -> None:
    put(server, "127.0.0.7")
    before = serial(server)
    update = signed()
    update.present(NAME, "A", "127.0.0.6")
    update.replace(NAME, 60, "A", "127.0.0.8")
    assert change(server, update) == "NXRRSET"
    assert ask(server) == ["127.0.0.7"]
    assert serial(server) == before


@pytest.mark.parametrize(
    ("require", "rcode"),
    [
        (lambda update: update.present(NAME, "A", "127.0.0.7"), "NOERROR"),
        (lambda update: update.present(NAME, "A"), "NOERROR"),
        (lambda update: update.present(NAME), "NOERROR"),
        (lambda update: update.absent("other.example.org.", "A"), "NOERROR"),
        (lambda update: update.absent("other.example.org."), "NOERROR"),
        (lambda update: update.present(NAME, "AAAA"), "NXRRSET"),
        (lambda update: update.present("other.example.org."), "NXDOMAIN"),
        (lambda update: update.absent(NAME, "A"), "YXRRSET"),
        (lambda update: update.absent(NAME), "YXDOMAIN"),
        (lambda update: update.absent("name.example.net."), "NOTZONE"),
    ],
)
def test_every_prerequisite_of_rfc_2136(server: Server, require: object, rcode: str) -> None:
    put(server, "127.0.0.7")
    update = signed()
    require(update)  # type: ignore[operator]
    update.replace(NAME, 60, "A", "127.0.0.8")
    assert change(server, update) == rcode
    assert ask(server) == ["127.0.0.8" if rcode == "NOERROR" else "127.0.0.7"]


def test_a_deleted_name_does_not_exist_and_the_apex_stays(server: Server) -> None:
    put(server, "127.0.0.7")
    update = signed()
    update.delete(NAME)
    update.delete(f"{ZONE}.")
    assert change(server, update) == "NOERROR"
    query = dns.message.make_query(NAME, "A")
    answer = dns.query.udp(query, server.host, port=server.port, timeout=5)
    assert answer.rcode() == dns.rcode.NXDOMAIN
    assert serial(server) > 1
    assert ask(server, f"{ZONE}.", "NS") == [f"ns.{ZONE}."]


def test_one_address_of_two_is_deleted_alone(server: Server) -> None:
    update = signed()
    update.add(NAME, 60, "A", "127.0.0.7")
    update.add(NAME, 60, "A", "127.0.0.8")
    assert change(server, update) == "NOERROR"
    update = signed()
    update.delete(NAME, "A", "127.0.0.7")
    assert change(server, update) == "NOERROR"
    assert ask(server) == ["127.0.0.8"]


def test_a_cname_is_followed_inside_the_zone(server: Server) -> None:
    put(server, "127.0.0.7")
    update = signed()
    update.add("www.example.org.", 60, "CNAME", NAME)
    assert change(server, update) == "NOERROR"
    assert ask(server, "www.example.org.") == [NAME, "127.0.0.7"]


def test_other_zones_are_refused(server: Server) -> None:
    query = dns.message.make_query("example.net.", "A")
    answer = dns.query.udp(query, server.host, port=server.port, timeout=5)
    assert answer.rcode() == dns.rcode.REFUSED
    update = dns.update.UpdateMessage("example.net", keyring=KEYS)
    update.replace("example.net.", 60, "A", "127.0.0.7")
    assert change(server, update) == "NOTAUTH"


def test_what_was_answered_with_noerror_survives_kill_9(
    start: Start, key_file: Path, tmp_path: Path
) -> None:
    server = run(start, key_file, tmp_path / "zones")
    put(server, "127.0.0.7")
    server.stop(signal.SIGKILL)
    again = run(start, key_file, tmp_path / "zones", port=server.port)
    assert ask(again) == ["127.0.0.7"]


def test_garbage_is_survived(server: Server) -> None:
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for noise in (b"", b"\x00", b"\xff" * 11, b"\x12\x34" + b"\x00" * 3, b"\x00" * 40):
            sender.sendto(noise, (server.host, server.port))
    assert serial(server) >= 1


def test_it_ends_on_sigterm(server: Server) -> None:
    assert server.stop() == 0
