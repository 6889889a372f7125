"""The contract of drkit.observers.interface.Observer, made executable. To add one: one `Join`."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from raw_server import RawServer, Talk

from drkit.io_policy import Deadline
from drkit.observers.command import Command
from drkit.observers.interface import Alert, Observer, ObserverFailed, alert_json
from drkit.observers.log import LogFile
from drkit.observers.memory import MemoryObserver
from drkit.observers.tell import tell
from drkit.observers.webhook import Webhook
from drkit.secrets.interface import Secret

TOKEN = "a-token-nobody-may-read"
ALERT = Alert(
    id="chat-ttft-p95-raised-1",
    service="chat",
    name="ttft-p95",
    level="warning",
    state="raised",
    text="ttft_p95 is 612 ms, above 500 ms für 120 s\n\x1b[31m\u2028",
    metric="ttft_p95",
    value=0.612,
    limit=0.5,
    at=datetime(2026, 5, 4, 12, tzinfo=UTC),
    host="vm",
)


@dataclass
class Scene:
    """One observer, what has arrived there, and its place made to fail."""

    observer: Observer
    arrived: Callable[[], list[Any]]
    break_it: Callable[[], None]


Join = Callable[[Path], Any]


@contextmanager
def memory(_folder: Path) -> Iterator[Scene]:
    made = MemoryObserver("one")
    told = lambda: [json.loads(json.dumps(alert_json(each))) for each in made.told]  # noqa: E731
    yield Scene(made, told, lambda: setattr(made, "fails", True))


@contextmanager
def log(folder: Path) -> Iterator[Scene]:
    path = folder / "logs" / "alerts.log"

    def lines() -> list[Any]:
        return [json.loads(line) for line in path.read_text().splitlines() if line]

    def break_it() -> None:
        path.unlink(missing_ok=True)
        path.mkdir(parents=True)

    yield Scene(LogFile("one", path), lines, break_it)


@contextmanager
def webhook(_folder: Path) -> Iterator[Scene]:
    broken = threading.Event()

    def step(talk: Talk) -> None:
        if broken.is_set():
            talk.error(500, TOKEN)
        else:
            talk.read_body()
            talk.answer(204)

    server = RawServer(step)
    try:
        observer = Webhook(
            "one",
            f"{server.url}/hook?key={TOKEN}",
            token=Secret(TOKEN),
            deadline=Deadline(connect_s=5, total_s=20),
        )
        yield Scene(
            observer,
            lambda: [json.loads(talk.read_body()) for talk in server.talks],
            broken.set,
        )
    finally:
        server.stop()


@contextmanager
def command(folder: Path) -> Iterator[Scene]:
    told = folder / "told"
    program = folder / "tell.py"
    program.write_text(
        "import sys, pathlib\n"
        "text = sys.stdin.read()\n"
        "pathlib.Path(sys.argv[1]).open('a').write(text)\n"
    )
    observer = Command("one", [sys.executable, str(program), str(told)], folder=folder)

    def lines() -> list[Any]:
        return [json.loads(line) for line in told.read_text().splitlines()]

    yield Scene(observer, lines, lambda: program.write_text("import sys; sys.exit('no luck')\n"))


JOINS: dict[str, Join] = {"memory": memory, "log": log, "webhook": webhook, "command": command}


@pytest.fixture(params=JOINS, ids=str)
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Scene]:
    with JOINS[request.param](tmp_path) as made:
        yield made


def test_what_was_told_has_arrived_whole(scene: Scene) -> None:
    scene.observer.notice(ALERT)
    assert scene.arrived() == [json.loads(json.dumps(alert_json(ALERT)))]


def test_told_twice_it_arrives_under_the_same_id(scene: Scene) -> None:
    scene.observer.notice(ALERT)
    scene.observer.notice(ALERT)
    assert [each["id"] for each in scene.arrived()] == [ALERT.id] * 2


def test_many_threads_may_tell_at_once(scene: Scene) -> None:
    threads = [threading.Thread(target=scene.observer.notice, args=(ALERT,)) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(scene.arrived()) == 4


def test_what_did_not_arrive_is_said_and_no_secret_with_it(scene: Scene) -> None:
    scene.break_it()
    with pytest.raises(ObserverFailed) as raised:
        scene.observer.notice(ALERT)
    assert raised.value.hint
    assert scene.observer.name in raised.value.message
    assert TOKEN not in f"{raised.value.message} {raised.value.hint}"


def test_nothing_shows_a_secret(scene: Scene) -> None:
    assert TOKEN not in repr(scene.observer)


def test_it_has_the_name_that_the_configuration_gave_it(scene: Scene) -> None:
    assert scene.observer.name == "one"


def test_a_failing_observer_holds_up_no_other(scene: Scene) -> None:
    scene.break_it()
    other = MemoryObserver("two")
    outcome = tell([(scene.observer, [ALERT]), (other, [ALERT])])
    assert other.told == [ALERT]
    assert outcome["two", ALERT.id] is None
    assert "one" in str(outcome["one", ALERT.id])


def test_one_that_hangs_is_said_to_and_is_not_waited_for() -> None:
    hangs, other = MemoryObserver("one"), MemoryObserver("two")
    hangs.hangs.clear()
    outcome = tell([(hangs, [ALERT]), (other, [ALERT])], limit_s=1)
    hangs.hangs.set()
    assert "did not return" in str(outcome["one", ALERT.id])
    assert outcome["two", ALERT.id] is None


@pytest.mark.parametrize("answer", ["hangs", "redirects", "endless", "refuses"])
def test_a_webhook_that_misbehaves_has_failed_in_time(answer: str) -> None:
    def step(talk: Talk) -> None:
        talk.read_body()
        match answer:
            case "hangs":
                talk.stopping.wait(20)
            case "redirects":
                talk.answer(302, Location="http://127.0.0.1:1/elsewhere")
            case "refuses":
                talk.answer(403)
            case "endless":
                talk.answer(200, b"x" * 1000, length=10**12)
                talk.stopping.wait(20)

    server = RawServer(step)
    try:
        total_s = 0.5 if answer == "hangs" else 20
        hook = Webhook("w", server.url, deadline=Deadline(connect_s=5, total_s=total_s))
        begun_s = time.monotonic()
        if answer == "endless":  # its status came, and nobody waits for the rest
            hook.notice(ALERT)
        else:
            with pytest.raises(ObserverFailed):
                hook.notice(ALERT)
        assert time.monotonic() - begun_s < 10
    finally:
        server.stop()


def test_a_webhook_that_nobody_answers_says_nothing_of_the_key_in_its_url() -> None:
    with pytest.raises(ObserverFailed) as raised:
        Webhook("w", f"http://127.0.0.1:1/hook/{TOKEN}?key={TOKEN}").notice(ALERT)
    assert "127.0.0.1:1" in raised.value.message
    assert TOKEN not in raised.value.message


def test_a_webhook_gets_the_token_as_a_bearer_and_the_id_to_tell_repeats() -> None:
    def step(talk: Talk) -> None:
        talk.read_body()
        talk.answer(200)

    server = RawServer(step)
    try:
        Webhook("w", f"{server.url}/a?b=c", token=Secret(TOKEN)).notice(ALERT)
        (talk,) = server.talks
    finally:
        server.stop()
    assert talk.target == "/a?b=c"
    assert talk.headers["authorization"] == f"Bearer {TOKEN}"
    assert talk.headers["idempotency-key"] == ALERT.id


def test_a_command_that_hangs_is_ended_with_what_it_started(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    argv = ["/bin/sh", "-c", f"sleep 300 & echo $! > {pid_file}; wait"]
    limit_s = 0.25
    while not (pid_file.exists() and pid_file.read_text().strip()):  # it had no time to start one
        limit_s *= 2
        with pytest.raises(ObserverFailed, match="did not end"):
            Command("c", argv, folder=tmp_path, limit_s=limit_s).notice(ALERT)
    child = Path(f"/proc/{pid_file.read_text().strip()}")
    deadline = time.monotonic() + 60
    while child.exists() and "State:\tZ" not in (child / "status").read_text():
        assert time.monotonic() < deadline, "what it started goes on"
        time.sleep(0.01)


def test_a_command_inherits_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTIC_PASSWORD", TOKEN)
    argv = ["/bin/sh", "-c", f"env > {tmp_path / 'env'}"]
    Command("c", argv, folder=tmp_path).notice(ALERT)
    assert TOKEN not in (tmp_path / "env").read_text()


def test_a_program_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ObserverFailed, match="cannot be started"):
        Command("c", ["/no/such/program"], folder=tmp_path).notice(ALERT)


def test_a_line_that_a_crash_cut_short_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "alerts.log"
    path.write_text('{"drkit": 1, "id": "cut sho')
    LogFile("l", path).notice(ALERT)
    assert json.loads(path.read_text().splitlines()[1])["id"] == ALERT.id
