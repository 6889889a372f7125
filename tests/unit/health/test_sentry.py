"""What a witness says follows from its rounds by the table, and only who asked can use it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drkit.clock import ManualClock
from drkit.compute.interface import Endpoint
from drkit.config.places import Probe
from drkit.errors import ConfigError
from drkit.health.interface import ProbeResult, ServiceHealth, ServiceState, Verdict
from drkit.health.memory import MemoryProber
from drkit.health.witness.file_memory import FileMemory
from drkit.health.witness.sentry import Sentry, word_of
from drkit.health.witness.signing import SigningKey, is_signed_by, open_signing_key
from drkit.health.witness.statement import MOST_ROUNDS, Untrustworthy, Word, opened, signed

ENDPOINT = Endpoint("http", "192.0.2.1", 8000)
NONCE = "ab" * 16


class Host:
    """A witness's host: its clock, its folder, and what can be reached from it."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self.memory = FileMemory(folder / "seen")
        self.prober = MemoryProber(self.clock)
        self.prober.set(ENDPOINT.url, "m")
        self.cut_off = False

    def sentry(self) -> Sentry:
        return Sentry(
            service="chat",
            site="lambda",
            endpoint=ENDPOINT,
            model="m",
            api_key=lambda: None,
            prober=self.prober,
            reach=lambda _hosts: ProbeResult(
                "reference", Verdict.FAILED if self.cut_off else Verdict.PASSED, ""
            ),
            reference_hosts=(),
            settings=Probe(),
            memory=self.memory,
            clock=self.clock,
        )

    def rounds(self, sentry: Sentry, number: int, every_s: float = 30) -> None:
        for _ in range(number):
            self.clock.advance(every_s)
            sentry.round()


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    return open_signing_key(tmp_path_factory.mktemp("key") / "signing-key")


def test_it_says_well_then_does_not_know_then_down(host: Host) -> None:
    sentry = host.sentry()
    host.rounds(sentry, 3)
    assert sentry.statement(NONCE).word is Word.WELL
    host.prober.set(ENDPOINT.url, None)
    host.rounds(sentry, 2, every_s=15)
    assert sentry.statement(NONCE).word is Word.NOT_KNOWN
    host.rounds(sentry, 3, every_s=15)
    assert sentry.statement(NONCE).word is Word.DOWN
    host.prober.set(ENDPOINT.url, "m")
    host.rounds(sentry, 1)
    assert sentry.statement(NONCE).word is Word.NOT_KNOWN, "one token after DOWN is not health"


def test_H3_a_witness_that_never_saw_it_healthy_does_not_call_it_down(host: Host) -> None:
    host.prober.set(ENDPOINT.url, None)
    sentry = host.sentry()
    host.rounds(sentry, 20)
    assert sentry.statement(NONCE).word is Word.NOT_KNOWN


def test_H3_a_witness_that_is_cut_off_does_not_know(host: Host) -> None:
    sentry = host.sentry()
    host.rounds(sentry, 3)
    host.cut_off = True
    host.prober.set(ENDPOINT.url, None)
    host.rounds(sentry, 10)
    assert sentry.statement(NONCE).word is Word.NOT_KNOWN
    blind_and_down = ServiceHealth(ServiceState.DOWN, ever_healthy=True, blind=True)
    assert word_of(blind_and_down) is Word.NOT_KNOWN


def test_what_it_knew_outlives_its_process(host: Host) -> None:
    first = host.sentry()
    host.rounds(first, 3)
    host.prober.set(ENDPOINT.url, None)
    host.rounds(first, 4)
    assert host.sentry().statement(NONCE) == first.statement(NONCE)
    assert host.sentry().statement(NONCE).word is Word.DOWN


def test_a_file_that_was_cut_short_is_as_none(host: Host, tmp_path: Path) -> None:
    host.rounds(host.sentry(), 3)
    kept = tmp_path / "seen" / "chat.json"
    kept.write_bytes(kept.read_bytes()[:-20])
    assert host.sentry().statement(NONCE).word is Word.NOT_KNOWN
    kept.write_text(json.dumps({"health": 7, "rounds": [["x"]]}))
    assert host.sentry().statement(NONCE).rounds == ()


def test_rounds_from_before_a_reboot_have_no_age(host: Host) -> None:
    host.rounds(host.sentry(), 3)
    host.clock = ManualClock()  # it counts from the boot of the machine
    assert host.sentry().statement(NONCE).rounds == ()


def test_a_statement_tells_the_last_rounds_with_their_ages_and_no_more(host: Host) -> None:
    sentry = host.sentry()
    host.rounds(sentry, 25)
    host.clock.advance(7)
    said = sentry.statement(NONCE)
    assert len(said.rounds) == MOST_ROUNDS
    assert [each.age_s for each in said.rounds[:3]] == [7, 37, 67]


def test_what_was_signed_is_opened_with_its_nonce_only(host: Host, key: SigningKey) -> None:
    sentry = host.sentry()
    host.rounds(sentry, 3)
    said = sentry.statement(NONCE)
    answer = signed(said, key)
    assert opened(answer, key.verifying, NONCE) == said
    with pytest.raises(Untrustworthy, match="told again"):
        opened(answer, key.verifying, "cd" * 16)


def test_another_key_convinces_nobody(host: Host, key: SigningKey, tmp_path: Path) -> None:
    other = open_signing_key(tmp_path / "other")
    answer = signed(host.sentry().statement(NONCE), other)
    with pytest.raises(Untrustworthy, match="verifying_key"):
        opened(answer, key.verifying, NONCE)


def test_a_word_that_was_changed_on_its_way_is_refused(host: Host, key: SigningKey) -> None:
    host.rounds(sentry := host.sentry(), 3)
    envelope = json.loads(signed(sentry.statement(NONCE), key))
    changed = envelope["statement"].replace('"well"', '"down"')
    assert changed != envelope["statement"]
    forged = json.dumps(envelope | {"statement": changed}).encode()
    with pytest.raises(Untrustworthy, match="verifying_key"):
        opened(forged, key.verifying, NONCE)


def test_a_signature_over_something_else_is_no_statement(host: Host, key: SigningKey) -> None:
    # The same key may sign other things one day: the first line keeps them apart.
    text = json.dumps({"nonce": NONCE})
    import base64

    def envelope(signature: bytes) -> bytes:
        encoded = base64.b64encode(signature).decode()
        return json.dumps({"statement": text, "signature": encoded}).encode()

    with pytest.raises(Untrustworthy, match="verifying_key"):
        opened(envelope(key.sign(text.encode())), key.verifying, NONCE)
    with pytest.raises(Untrustworthy, match="no statement"):
        opened(envelope(key.sign(b"drkit witness 1\n" + text.encode())), key.verifying, NONCE)


@given(st.binary(max_size=200) | st.from_regex(r'\{"statement":.{0,40}\}').map(str.encode))
def test_whatever_comes_is_refused_and_never_raises_otherwise(answer: bytes) -> None:
    with pytest.raises(Untrustworthy):
        opened(answer, "ed25519:" + "A" * 43 + "=", NONCE)


def test_ages_that_are_no_ages_are_refused(host: Host, key: SigningKey) -> None:
    host.rounds(sentry := host.sentry(), 1)
    said = sentry.statement(NONCE)
    for age_s in (-1.0, float("nan")):
        rounds = (replace(said.rounds[0], age_s=age_s),)
        with pytest.raises(Untrustworthy, match="no statement"):
            opened(signed(replace(said, rounds=rounds), key), key.verifying, NONCE)


def test_the_key_is_made_once_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "state" / "signing-key"
    first = open_signing_key(path)
    assert open_signing_key(path).verifying == first.verifying
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text().strip() not in repr(first)
    assert is_signed_by(first.verifying, first.sign(b"x"), b"x")
    path.write_text("something else\n")
    with pytest.raises(ConfigError, match="no signing key"):
        open_signing_key(path)
    assert path.read_text() == "something else\n"
