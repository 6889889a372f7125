"""What a witness may be configured to do, and how it may be asked."""

from typing import Any

import pytest
from pydantic import ValidationError

from drkit.config.decide import Witness
from drkit.config.witness import WitnessConfig

KEY = "ed25519:YiTDgDNy9reHjupl2O5NFGmGoOS8LLahCyCyyVBMPko="
WATCHES = {"chat": {"site": "lambda", "endpoint": "http://203.0.113.10:8000", "model": "m"}}
TLS = {"certificate": "witness.pem", "key": "witness.key"}


def witness(**changes: Any) -> WitnessConfig:
    values = {"drkit": 1, "token": "file:token", "watches": WATCHES}
    return WitnessConfig.model_validate(values | changes)


def asked(**changes: Any) -> Witness:
    values = {"url": "https://witness.example.net:9443", "token": "file:token"}
    return Witness.model_validate(values | {"verifying_key": KEY} | changes)


@pytest.mark.parametrize(
    ("listen", "host", "port"),
    [
        ("127.0.0.1:9443", "127.0.0.1", 9443),
        ("[::1]:1", "::1", 1),
        ("localhost:65535", "localhost", 65535),
    ],
)
def test_on_loopback_it_needs_no_certificate(listen: str, host: str, port: int) -> None:
    config = witness(listen=listen)
    assert (config.host, config.port) == (host, port)


@pytest.mark.parametrize("listen", ["0.0.0.0:9443", "[::]:9443", "192.0.2.1:9443"])
def test_beyond_loopback_its_token_is_never_sent_in_the_clear(listen: str) -> None:
    with pytest.raises(ValidationError, match="`tls` is missing"):
        witness(listen=listen)
    assert witness(listen=listen, tls=TLS).tls is not None


@pytest.mark.parametrize("listen", ["9443", "0.0.0.0", "127.0.0.1:99999", "a b:1", ":9443"])
def test_an_address_that_is_none_is_refused(listen: str) -> None:
    with pytest.raises(ValidationError):
        witness(listen=listen)


@pytest.mark.parametrize(
    "changes", [{"watches": {}}, {"token": "secret"}, {"stores": {}}, {"drkit": 2}], ids=str
)
def test_it_knows_what_stands_there_and_nothing_else(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        witness(**changes)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"url": "http://witness.example.net:9443"}, "https"),
        ({"url": "witness.example.net"}, "no URL"),
        ({"verifying_key": "ed25519:short"}, "--show-key"),
        ({"verifying_key": KEY.removeprefix("ed25519:")}, "--show-key"),
    ],
)
def test_a_witness_is_asked_safely_or_not_at_all(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        asked(**changes)


def test_a_witness_on_loopback_may_be_a_tunnel() -> None:
    assert asked(url="http://127.0.0.1:9443").trust is None
