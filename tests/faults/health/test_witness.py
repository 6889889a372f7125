"""A real witness over TLS, asked by friends, by strangers, by many, and through a liar."""

from __future__ import annotations

import json
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from certificates import certificate
from model_servers import MODEL, Server, serving
from raw_server import RawServer, Talk

from drkit.clock import ManualClock, SystemClock
from drkit.compute.interface import Endpoint
from drkit.config.models import Config
from drkit.config.places import Probe
from drkit.events import discard
from drkit.health.interface import ProbeResult, Verdict
from drkit.health.memory import MemoryProber
from drkit.health.witness.asking import Heard, Voice, WitnessPlace, hear
from drkit.health.witness.file_memory import FileMemory
from drkit.health.witness.sentry import Sentry
from drkit.health.witness.server import Allowance, WitnessServer
from drkit.health.witness.signing import SigningKey, open_signing_key
from drkit.health.witness.statement import signed
from drkit.io_policy import Deadline
from drkit.wiring import App
from drkit.wiring.witness import hear_witnesses

ENDPOINT = Endpoint("http", "192.0.2.1", 8000)
TOKEN = "the token"
PROJECT = Path(__file__).resolve().parents[3]


class Elsewhere:
    """A witness on a host of its own, on loopback here."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self.prober = MemoryProber(self.clock)
        self.prober.set(ENDPOINT.url, "m")
        self.key: SigningKey = open_signing_key(folder / "signing-key")
        self.key_file, self.certificate = certificate(folder)
        self.sentry = Sentry(
            service="chat",
            site="lambda",
            endpoint=ENDPOINT,
            model="m",
            api_key=lambda: None,
            prober=self.prober,
            reach=lambda _hosts: ProbeResult("reference", Verdict.PASSED, ""),
            reference_hosts=(),
            settings=Probe(),
            memory=FileMemory(folder / "seen"),
            clock=self.clock,
        )
        self.rounds(3)

    def rounds(self, number: int) -> None:
        for _ in range(number):
            self.clock.advance(30)
            self.sentry.round()

    def tls(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key_file)
        return context

    @contextmanager
    def answering(self) -> Iterator[WitnessServer]:
        server = WitnessServer(
            "127.0.0.1",
            0,
            sentries={"chat": self.sentry},
            token=TOKEN,
            key=self.key,
            clock=SystemClock(),
            tls=self.tls(),
        )
        serving = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        serving.start()
        try:
            yield server
        finally:
            server.shutdown()
            server.server_close()

    def place(self, port: int, **changes: str | None) -> WitnessPlace:
        values = {
            "url": f"https://127.0.0.1:{port}",
            "token": TOKEN,
            "verifying_key": self.key.verifying,
            "trust": str(self.certificate),
        }
        return WitnessPlace(**(values | changes))  # type: ignore[arg-type]


@pytest.fixture
def there(tmp_path: Path) -> Elsewhere:
    return Elsewhere(tmp_path)


def heard(place: WitnessPlace, *, site: str = "lambda", total_s: float = 5) -> Heard:
    (one,) = hear(
        {"w": place},
        service="chat",
        site=site,
        clock=SystemClock(),
        deadline=Deadline(connect_s=2, total_s=total_s),
    )
    return one


def test_it_says_what_it_sees(there: Elsewhere) -> None:
    with there.answering() as server:
        place = there.place(server.port)
        assert heard(place).voice is Voice.WELL
        there.prober.set(ENDPOINT.url, None)
        there.rounds(1)
        assert heard(place).voice is Voice.SILENT
        there.rounds(3)
        down = heard(place)
    assert down.voice is Voice.DOWN
    assert "liveness" in down.detail


def test_H3_a_witness_that_stopped_looking_is_silent(there: Elsewhere) -> None:
    with there.answering() as server:
        there.clock.advance(91)
        old = heard(there.place(server.port))
    assert old.voice is Voice.SILENT
    assert "91 s old" in old.detail


@pytest.mark.parametrize(
    ("changes", "site", "why"),
    [
        ({"token": "another"}, "lambda", "does not take the token"),
        ({"verifying_key": "ed25519:" + "A" * 43 + "="}, "lambda", "verifying_key"),
        ({"trust": None}, "lambda", "CERTIFICATE_VERIFY_FAILED"),
        ({"trust": "/dev/null"}, "lambda", "no certificate"),
        ({}, "coreweave", "it watches chat at lambda, not chat at coreweave"),
        ({"url": "https://127.0.0.1:1"}, "lambda", "no answer"),
    ],
)
def test_whoever_cannot_be_believed_is_silent_and_why_is_said(
    there: Elsewhere, changes: dict[str, str | None], site: str, why: str
) -> None:
    with there.answering() as server:
        one = heard(there.place(server.port, **changes), site=site)
    assert one.voice is Voice.SILENT
    assert why in one.detail


def relay(there: Elsewhere, answer: bytes) -> tuple[RawServer, WitnessPlace]:
    """Somebody in the middle, with the witness's certificate, who always says `answer`."""

    def step(talk: Talk) -> None:
        talk.answer(200, answer)

    server = RawServer(step, tls=there.tls())
    return server, there.place(server.port)


def test_an_answer_that_was_recorded_is_not_believed_again(there: Elsewhere) -> None:
    there.prober.set(ENDPOINT.url, None)
    there.rounds(4)
    recorded = signed(there.sentry.statement("00" * 16), there.key)
    server, place = relay(there, recorded)
    try:
        one = heard(place)
    finally:
        server.stop()
    assert one.voice is Voice.SILENT
    assert "told again" in one.detail


@pytest.mark.parametrize("answer", [b"", b"{}", b"[1]", b"x" * 100_000, b'{"statement": 1}'])
def test_nonsense_is_silence(there: Elsewhere, answer: bytes) -> None:
    server, place = relay(there, answer)
    try:
        assert heard(place).voice is Voice.SILENT
    finally:
        server.stop()


def test_all_are_asked_at_once_and_one_that_hangs_holds_up_nobody(there: Elsewhere) -> None:
    guard, waiting, at_once = threading.Lock(), Counter[str](), []

    def hang(talk: Talk) -> None:
        with guard:
            waiting["now"] += 1
            at_once.append(waiting["now"])
        with suppress(OSError):
            talk.connection.recv(1)  # until whoever asks goes away
        with guard:
            waiting["now"] -= 1

    hangs = [RawServer(hang, tls=there.tls()) for _ in range(3)]
    try:
        with there.answering() as server:
            places = {f"w{n}": there.place(each.port) for n, each in enumerate(hangs)}
            places["good"] = there.place(server.port)
            all_of_them = hear(
                places,
                service="chat",
                site="lambda",
                clock=SystemClock(),
                deadline=Deadline(connect_s=3, total_s=3),
            )
    finally:
        for each in hangs:
            each.stop()
    assert [each.voice for each in all_of_them] == [Voice.SILENT] * 3 + [Voice.WELL]
    assert max(at_once) == 3


def test_a_stranger_learns_nothing_and_is_soon_not_answered(there: Elsewhere) -> None:
    with there.answering() as server:
        context = ssl.create_default_context(cafile=str(there.certificate))

        def asked(path: str, **headers: str) -> tuple[int, bytes]:
            url = f"https://127.0.0.1:{server.port}{path}"
            request = urllib.request.Request(url, headers=headers)
            try:
                with urllib.request.urlopen(request, context=context, timeout=5) as answer:
                    return answer.status, answer.read()
            except urllib.error.HTTPError as error:
                return error.code, error.read()

        question = f"/v1/observation?service=chat&nonce={'ab' * 16}"
        known = {"Authorization": f"Bearer {TOKEN}"}
        assert asked(question, **known)[0] == 200
        assert asked("/v1/observation?service=chat&nonce=short", **known)[0] == 400
        assert asked("/", **known)[0] == 400
        assert asked(question.replace("chat", "other"), **known)[0] == 404
        strangers = [asked(path) for path in (question, "/", "/v1/observation", question) * 2]
    assert {status for status, _ in strangers} == {401, 429}
    assert all(b"chat" not in body and b"lambda" not in body for _, body in strangers)


def test_one_address_may_ask_so_often_and_no_more() -> None:
    clock = ManualClock()
    allowance = Allowance(clock, most=3, per_s=1)
    assert [allowance.take("a") for _ in range(4)] == [True, True, True, False]
    assert allowance.take("b"), "another one is not kept out by the first"
    clock.advance(2)
    assert [allowance.take("a") for _ in range(3)] == [True, True, False]


def test_those_who_say_nothing_do_not_take_all_the_places(there: Elsewhere) -> None:
    with there.answering() as server:
        idle = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(40)]
        try:
            full = heard(there.place(server.port), total_s=2)
        finally:
            for each in idle:
                each.close()
        deadline = time.monotonic() + 60
        while (again := heard(there.place(server.port))).voice is Voice.SILENT:
            assert time.monotonic() < deadline, again
            time.sleep(0.05)
    assert full.voice is Voice.SILENT
    assert again.voice is Voice.WELL


def test_the_deployment_asks_all_its_witnesses_and_lacks_no_token_silently(
    there: Elsewhere, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    with there.answering() as server:
        witness = {
            "url": f"https://127.0.0.1:{server.port}",
            "token": f"file:{tmp_path / 'token'}",
            "verifying_key": there.key.verifying,
            "trust": str(there.certificate),
        }
        config = Config.model_validate(
            {
                "drkit": 1,
                "stores": {"one": {"kind": "folder", "role": "primary", "path": "one"}},
                "repository": {"password": "env:NOT_SET"},
                "sources": {"notes": {"kind": "tree", "path": "notes"}},
                "sites": {"lambda": {"endpoint": ENDPOINT.url}},
                "service": {"name": "chat", "model": "m", "primary": "lambda"},
                "decide": {
                    "witnesses": {"good": witness, "mute": witness | {"token": "env:NOT_SET"}}
                },
            }
        )
        app = App(config, tmp_path, sandbox=False, emit=discard)
        found = {each.witness: each for each in hear_witnesses(app, "lambda")}
        elsewhere = {each.witness: each.voice for each in hear_witnesses(app, "coreweave")}
    assert found["good"].voice is Voice.WELL
    assert found["mute"].voice is Voice.SILENT
    assert "NOT_SET" in found["mute"].detail
    assert elsewhere == {"good": Voice.SILENT, "mute": Voice.SILENT}


def test_the_command_watches_and_answers_and_ends_on_sigterm(tmp_path: Path) -> None:
    key_file, certificate_file = certificate(tmp_path)
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    with serving(Server()) as endpoint:
        (tmp_path / "witness.yaml").write_text(
            json.dumps(
                {
                    "drkit": 1,
                    "listen": "127.0.0.1:0",
                    "token": "file:token",
                    "tls": {"certificate": certificate_file.name, "key": key_file.name},
                    "watches": {
                        "chat": {"site": "lambda", "endpoint": endpoint.url, "model": MODEL}
                    },
                    "every": "1s",
                    "probe": {"known_after": 1},
                }
            )
        )
        argv = [sys.executable, "-m", "drkit", "witness", "--json"]
        where = {"cwd": tmp_path, "env": {"PYTHONPATH": str(PROJECT), "PATH": "/usr/bin"}}
        shown = subprocess.run([*argv, "--show-key"], **where, capture_output=True, text=True)
        verifying = json.loads(shown.stdout)["verifying_key"]
        process = subprocess.Popen(argv, **where, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            lines = iter(process.stdout.readline, "")
            said = next(v for v in map(json.loads, lines) if v["message_type"] == "witness")
            assert said["verifying_key"] == verifying
            assert re.fullmatch(r"127\.0\.0\.1:\d+", said["listen"])
            place = WitnessPlace(
                f"https://{said['listen']}", TOKEN, verifying, str(certificate_file)
            )
            deadline = time.monotonic() + 30
            while (one := heard(place)).voice is not Voice.WELL:
                assert time.monotonic() < deadline, one
                time.sleep(0.1)
        finally:
            process.terminate()
            status = process.wait(20)
            process.stdout.close()
    assert status == 0
