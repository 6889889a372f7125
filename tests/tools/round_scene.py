"""A deployment whose watch makes rounds, and what follows from them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from drkit.cli.runs import following
from drkit.cli.runs.running import plan_run
from drkit.cli.watch.after_round import Followed, follow
from drkit.coordination.decision import DecisionState
from drkit.coordination.interface import ArbiterUnreachable
from drkit.events import Note
from drkit.health.interface import ServiceState
from drkit.health.memory import MemoryProber
from drkit.health.witness.asking import Heard, Voice
from drkit.operations.watch.watch import Watched
from drkit.traffic.interface import Setting
from drkit.traffic.memory import MemorySwitch
from drkit.wiring import App, watch, witness
from drkit.wiring.run import open_journal
from drkit.wiring.watch import make_round, open_decisions, seen_health

HOME, SPARE = "http://127.0.0.1:8000", "http://127.0.0.9:8000"
RUNBOOK = Path(__file__).parents[2] / "runbooks" / "switch-to-standby.yaml"


GPU = {"kind": "local", "path": "gpu", "host": "127.0.0.1", "argv": ["serve"]}


AUTO = {"mode": "auto", "runbook": "down"}


class Scene:
    """A deployment whose rounds are commands of their own; `started` are the runs' processes."""

    def __init__(self, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
        self.app = app
        self.clock: Any = app.clock
        self.prober = MemoryProber(self.clock)
        self.prober.set(HOME, "m")
        self.prober.set(SPARE, "m")
        app.__dict__["prober"] = self.prober
        self.gateway = MemorySwitch("gateway", setting=Setting(False, HOME))
        self.started: list[str] = []
        self.voices = [Voice.DOWN]
        monkeypatch.setattr(app, "switches", lambda _namespace: (self.gateway,))
        monkeypatch.setattr(watch, "reach", lambda _hosts: _passed())
        monkeypatch.setattr(
            witness,
            "hear_witnesses",
            lambda _app, _site: tuple(Heard("w", voice, "") for voice in self.voices),
        )
        monkeypatch.setattr(
            following, "start_process", lambda _app, _config, run_id: self.started.append(run_id)
        )
        monkeypatch.setattr("drkit.wiring.run.runs_in_stores", answers([]))
        self.session: Any = SimpleNamespace(config_path=Path("schedules.yaml"))
        self.monkeypatch = monkeypatch

    def round(self) -> tuple[Watched, Followed]:
        self.clock.advance(30)
        role, watched = make_round(self.app)
        return watched, follow(self.session, self.app, watched, role)

    def die(self) -> Followed:
        """Seen well, then dead until it is DOWN."""
        for _ in range(3):
            self.round()
        self.prober.set(HOME, None)
        watched, followed = self.round()
        assert watched.health.state is ServiceState.DOWN
        return followed

    def decided(self) -> DecisionState | None:
        record = open_decisions(self.app).open()
        return record.decision.state if record else None

    def runs(self) -> list[Any]:
        return open_journal(self.app).runs()

    def led_by(self, given: dict[str, str]) -> None:
        for name, value in given.items():
            self.monkeypatch.setenv(name, value)

    def lose_arbiter(self) -> None:
        away = ArbiterUnreachable("the arbiter is away", hint="")
        for name in ("read_role", "acquire", "holding"):
            self.monkeypatch.setattr(self.app.arbiter, name, raises(away))

    def said(self) -> str:
        events = self.app.emit.__self__  # type: ignore[attr-defined]
        return "\n".join(event.text for event in events if isinstance(event, Note))


def _passed() -> Any:
    from drkit.health.interface import ProbeResult, Verdict

    return ProbeResult("reference", Verdict.PASSED, "")


Make = Callable[..., Scene]


def answers(value: Any) -> Callable[..., Any]:
    return lambda *_arguments: value


def raises(error: Exception) -> Callable[..., Any]:
    def raising(*_arguments: Any, **_named: Any) -> Any:
        raise error

    return raising


def planning(made: Scene, meanwhile: Callable[[App], str]) -> Callable[..., Any]:
    def planned(app: App, runbook: str, *, kind: Any, target: str | None) -> Any:
        plan = plan_run(app, runbook, kind=kind, target=target)
        meanwhile(app)
        return plan

    return planned


def facts(made: Scene) -> Any:
    return watch.read_facts(made.app, seen_health(made.app), leads=True, arbiter_reachable=True)
