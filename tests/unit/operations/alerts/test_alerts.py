"""Alerts are kept, told and written down: once each, and after a kill at least once."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

from drkit.clock import ManualClock
from drkit.health.measures.limits import Limit
from drkit.health.measures.window import NotMeasured, Value
from drkit.observers.memory import MemoryObserver
from drkit.operations.alerts import alerts as alerts_module
from drkit.operations.alerts.alerts import GIVEN_UP_AFTER, AlertBook, Told
from drkit.state.audit import AuditLog
from drkit.state.database import Database, open_database

SLOW = Limit("slow", "ttft_p95", True, 0.5, 0.4, 60, "warning", 20, "s")
DOWN = Limit("service-down", "down", True, 0.5, 0.5, 0, "critical")


class Scene:
    """One watch's alerts; every round is a command of its own."""

    def __init__(self, state: Path | str) -> None:
        self.clock = ManualClock()
        self.database: Database = open_database(state, clock=self.clock)
        self.observer = MemoryObserver("ops")
        self.told = [Told(self.observer, "warning")]
        self.host = "vm"

    def book(self) -> AlertBook:
        return AlertBook(self.database, "chat", self.clock, host=self.host, sandbox=False)

    def round(self, p95_s: float | None, *, down: bool = False, deliver: bool = True):
        self.clock.advance(30)
        measures = {
            "ttft_p95": NotMeasured("x") if p95_s is None else Value(p95_s, 100),
            "down": Value(float(down), 1),
        }
        book = self.book()
        changes = book.judge((SLOW, DOWN), measures, self.told, words={"down": "it is DOWN"})
        untold = book.deliver(self.told) if deliver else ()
        return changes, untold

    def lines(self) -> list[tuple[str, str]]:
        log = AuditLog(self.database, self.clock)
        return [(line.what, line.subject) for line in log.entries()]


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path / "state.sqlite")


def test_an_alert_is_raised_once_and_cleared_once_everywhere(scene: Scene) -> None:
    for _ in range(8):
        scene.round(0.7)
    ((name, standing),) = scene.book().standing()
    assert (name, standing.level) == ("slow", "warning")
    assert "700 ms" in standing.text
    for _ in range(8):
        scene.round(0.2)
    told = [(each.name, each.state) for each in scene.observer.told]
    assert told == [("slow", "raised"), ("slow", "cleared")]
    assert scene.lines() == [("alert raised", "chat: slow"), ("alert cleared", "chat: slow")]
    assert scene.book().standing() == ()
    assert "700 ms" in scene.observer.told[0].text
    assert AuditLog(scene.database, scene.clock).verify().broken_at is None


def test_yes_and_no_are_told_in_words(scene: Scene) -> None:
    scene.round(None, down=True)
    assert [each.text for _, each in scene.book().standing()] == ["it is DOWN"]
    scene.round(None, down=False)
    assert [each.text for each in scene.observer.told] == ["it is DOWN", "it is over"]


def test_an_observer_that_fails_is_said_and_told_later_in_order(scene: Scene) -> None:
    scene.observer.fails = True
    _, untold = scene.round(None, down=True)
    assert "ops" in untold[0]
    _, untold = scene.round(None, down=False)
    assert untold
    assert scene.lines() == [
        ("alert raised", "chat: service-down"),
        ("alert cleared", "chat: service-down"),
    ]
    scene.observer.fails = False
    assert scene.round(None)[1] == ()
    assert [each.state for each in scene.observer.told] == ["raised", "cleared"]
    scene.round(None)
    assert len(scene.observer.told) == 2


def test_a_kill_before_anyone_was_told_leaves_it_to_the_next_round(scene: Scene) -> None:
    scene.round(None, down=True, deliver=False)  # the process ends here
    assert scene.observer.told == []
    assert scene.lines() == []
    scene.round(None, down=True)
    assert [each.state for each in scene.observer.told] == ["raised"]
    assert scene.lines() == [("alert raised", "chat: service-down")]


class Killed(BaseException):
    """kill -9."""


@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_kill_anywhere_while_telling_leaves_nothing_untold(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    calls = 0
    struck = AlertBook._struck

    def dies(self: AlertBook, alert_id: str, **what: object) -> None:
        nonlocal calls
        calls += 1
        if calls > after:
            raise Killed
        struck(self, alert_id, **what)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(alerts_module.AlertBook, "_struck", dies)
        with suppress(Killed):
            scene.round(None, down=True)
    scene.round(None, down=True)
    scene.round(None, down=True)
    ids = {each.id for each in scene.observer.told}
    assert len(ids) == 1
    assert 1 <= len(scene.observer.told) <= 2
    assert 1 <= len(scene.lines()) <= 2
    assert scene.round(None, down=True)[1] == ()


def test_only_what_is_bad_enough_is_told(scene: Scene) -> None:
    scene.told = [Told(scene.observer, "critical")]
    for _ in range(4):
        scene.round(0.7, down=True)
    assert [each.name for each in scene.observer.told] == ["service-down"]
    assert len(scene.lines()) == 2


def test_what_could_not_be_told_for_a_day_is_given_up_and_said(scene: Scene) -> None:
    scene.observer.fails = True
    scene.round(None, down=True)
    scene.clock.advance((GIVEN_UP_AFTER + timedelta(minutes=1)).total_seconds())
    _, untold = scene.round(None, down=True)
    assert any("never told to ops" in words for words in untold)
    scene.observer.fails = False
    scene.round(None, down=True)
    assert scene.observer.told == []


def test_an_observer_that_was_taken_out_is_waited_for_no_longer(scene: Scene) -> None:
    scene.observer.fails = True
    scene.round(None, down=True)
    scene.told = []
    assert scene.round(None, down=True)[1] == ()
    assert scene.database.recall("alerts/chat")["outbox"] == []


def test_the_outbox_is_bounded(scene: Scene) -> None:
    scene.observer.fails = True
    for number in range(300):
        scene.round(None, down=number % 2 == 0, deliver=False)
    assert len(scene.database.recall("alerts/chat")["outbox"]) == alerts_module.MOST_UNTOLD


def test_another_machine_does_not_count_on_with_this_ones_clock(scene: Scene) -> None:
    scene.round(0.7)
    scene.round(0.7)
    scene.host = "laptop"
    assert scene.round(0.7)[0] == ()
    assert scene.round(0.7)[0] == ()
    assert [each.state for each in scene.round(0.7)[0]] == ["raised"]


def test_a_state_that_cannot_be_read_is_learnt_anew(scene: Scene) -> None:
    scene.database.remember("alerts/chat", {"standings": {"slow": 7}, "outbox": [{"alert": 1}]})
    for _ in range(3):
        scene.round(0.7)
    assert [each.state for each in scene.observer.told] == ["raised"]


def test_what_was_not_written_down_before_a_kill_is_written_down_after_it(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.told = []
    with monkeypatch.context() as patch:
        scene.round(None, down=True, deliver=False)
        scene.round(None, down=False, deliver=False)
        append, calls = AuditLog.append, []

        def dies(self: AuditLog, *what: object, **more: object) -> object:
            calls.append(what)
            if len(calls) > 1:
                raise Killed
            return append(self, *what, **more)  # type: ignore[arg-type]

        patch.setattr(AuditLog, "append", dies)
        with suppress(Killed):
            scene.book().deliver(())
    scene.round(None)
    assert [what for what, _ in scene.lines()] == ["alert raised", "alert cleared"]


def test_nobody_hears_that_it_is_over_before_hearing_that_it_began(scene: Scene) -> None:
    scene.round(None, down=True, deliver=False)
    scene.round(None, down=False, deliver=False)
    scene.observer.fails_once = True
    scene.book().deliver(scene.told)
    assert scene.observer.told == []
    scene.round(None)
    assert [each.state for each in scene.observer.told] == ["raised", "cleared"]
