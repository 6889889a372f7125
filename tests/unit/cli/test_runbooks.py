"""`drkit runbook` and `failback` as functions: plans by name, what is told, and exit statuses."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from drkit.cli.deployment import config as config_commands
from drkit.cli.runs import runbook as commands
from drkit.cli.runs.executing import _question, _tell_held, execute_named
from drkit.cli.runs.planning import plan_head, plan_named, plan_screen, plan_values
from drkit.cli.terminal.output import JsonTerminal, TextTerminal
from drkit.clock import ManualClock
from drkit.config.load import load_config, render_config
from drkit.errors import ConfigError, NeedsOperator
from drkit.runs.book.plan import Plan
from drkit.runs.records import EXTERNAL
from drkit.wiring import App
from drkit.wiring.lint_facts import known_of
from drkit.wiring.run import open_journal

ROOT = Path(__file__).parents[3]
Make = Callable[..., Any]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The shipped deployment, in a folder of its own."""
    folder = tmp_path / "shipped"
    (folder / "runbooks").mkdir(parents=True)
    for path in (ROOT / "runbooks").glob("*.yaml"):
        (folder / "runbooks" / path.name).write_bytes(path.read_bytes())
    (folder / "schedules.yaml").write_bytes((ROOT / "schedules.yaml").read_bytes())
    return folder


@pytest.fixture
def session(folder: Path) -> Make:
    """A session in that folder; `out` holds what it said."""

    def make(*, json_lines: bool = False, verbosity: int = 0, **more: Any) -> Any:
        out = io.StringIO()
        clock = ManualClock()
        terminal = (
            JsonTerminal(out, clock)
            if json_lines
            else TextTerminal(out, io.StringIO(), clock, verbosity=verbosity)
        )
        path = folder / "schedules.yaml"
        values = {
            "config_path": path,
            "root": folder,
            "terminal": terminal,
            "json_lines": json_lines,
            "verbosity": verbosity,
            "load_config": lambda: load_config(path),
            "sandbox": False,
            "dry_run": False,
            "out": out,
        }
        return SimpleNamespace(**{**values, **more})

    return make


def _rows(session: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in session.out.getvalue().splitlines()]


def _spoil(folder: Path) -> None:
    path = folder / "runbooks" / "primary-gpu-down.yaml"
    path.write_text(path.read_text().replace("needs: [verify, hold]", "needs: [verify]"))


def test_runbooks_that_are_right_end_with_0_and_their_warnings(session: Make) -> None:
    right = session()
    assert commands.check(right) == 0
    said = right.out.getvalue()
    assert "warning: " in said
    assert "primary-gpu-down: right, 3 warnings; longest way 26 of 35 min, slack 9: " in said
    assert "REFUSED" not in said
    assert said.count("switch.dns.tls") == 1, "what several runbooks have is said once"


def test_a_runbook_that_may_not_be_relied_on_ends_with_2(session: Make, folder: Path) -> None:
    _spoil(folder)
    wrong = session()
    assert commands.check(wrong) == 2
    assert "[one-mover]" in wrong.out.getvalue()
    assert commands.check(session(), ["failback"]) == 0
    with pytest.raises(ConfigError, match="no runbook 'absent'"):
        commands.check(session(), ["absent"])


def test_with_json_every_finding_has_its_place_notes_too(session: Make, folder: Path) -> None:
    _spoil(folder)
    asked = session(json_lines=True)
    assert commands.check(asked, ["primary-gpu-down"]) == 2
    rows = _rows(asked)
    findings = [row for row in rows if row["message_type"] == "finding"]
    assert {row["level"] for row in findings} == {"refuse", "warn", "note"}
    (refused,) = [row for row in findings if row["level"] == "refuse"]
    assert (refused["lint"], refused["field"]) == ("one-mover", "steps[8].needs")
    assert refused["line"] > 0
    assert refused["instead"]
    (verdict,) = [row for row in rows if row["message_type"] == "runbook"]
    assert (verdict["refused"], verdict["slack_min"]) == (True, 9)


def test_a_runbook_that_cannot_be_read_is_refused_with_the_others_checked(
    session: Make, folder: Path
) -> None:
    (folder / "runbooks" / "broken.yaml").write_text("drkit: 1\nname: broken\nkind: failover\n")
    asked = session()
    assert commands.check(asked) == 2
    said = asked.out.getvalue()
    assert "broken: REFUSED: it cannot be read" in said
    assert "failback: right" in said


def test_a_folder_without_a_runbook_is_not_right(session: Make, folder: Path) -> None:
    for path in (folder / "runbooks").iterdir():
        path.unlink()
    with pytest.raises(ConfigError, match=r"no runbook lies in .*runbooks"):
        commands.check(session())


def test_a_configuration_whose_runbook_is_refused_is_not_right(session: Make, folder: Path) -> None:
    right = session(json_lines=True)
    assert config_commands.validate(right) == 0
    (row,) = _rows(right)
    assert (row["runbooks"], row["runbook_warnings"]) == (4, 5)
    _spoil(folder)
    wrong = session(json_lines=True)
    assert config_commands.validate(wrong) == 2
    assert [row["message_type"] for row in _rows(wrong)] == ["finding"]


def test_a_configuration_without_runbooks_is_right_and_warns_of_what_they_would_serve(
    session: Make, folder: Path
) -> None:
    for path in (folder / "runbooks").iterdir():
        path.unlink()
    bare = session(json_lines=True)
    assert config_commands.validate(bare) == 0
    *missing, last = _rows(bare)
    assert last["runbooks_missing"] == len(missing) >= 2
    fields = [row["field"] for row in missing]
    drills = [name for name, job in load_config(folder / "schedules.yaml").schedules.items()]
    assert "targets" in fields
    assert any(field == f"schedules.{name}" for field in fields for name in drills)
    assert all(row["level"] == "warn" and row["line"] > 1 for row in missing)
    assert all("primary-gpu-down" in row["text"] for row in missing)


def test_a_decision_by_a_runbook_that_is_not_there_is_warned_of(
    session: Make, folder: Path
) -> None:
    path = folder / "schedules.yaml"
    path.write_text(f"{path.read_text()}\ndecide: {{runbook: night-watch}}\n")
    named = session()
    assert config_commands.validate(named) == 0
    assert "decide.runbook: a decision goes by the runbook night-watch" in named.out.getvalue()


def test_show_draws_the_runbook(session: Make) -> None:
    asked = session()
    commands.show(asked, "failback")
    said = asked.out.getvalue()
    assert said.startswith("failback: failback\n")
    assert "slack 2" in said
    assert "after commit" in said
    values = session(json_lines=True)
    commands.show(values, "primary-gpu-down")
    (row,) = _rows(values)
    assert row["phases"] == {"dns": 5, "other": 2, "deploy": 10, "restore": 15, "verify": 5}


def test_schema_is_json(session: Make) -> None:
    asked = session()
    commands.schema(asked)
    assert json.loads(asked.out.getvalue())["additionalProperties"] is False


@pytest.fixture
def shipped(app: App, tmp_path: Path) -> App:
    """A deployment on this machine, with the shipped runbooks for its sites."""
    for path in (ROOT / "runbooks").glob("*.yaml"):
        text = path.read_text().replace("lost: [lambda]", "lost: [gpu]")
        (tmp_path / "runbooks" / path.name).write_text(text)
    return app


def _held(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    from drkit.traffic.interface import Setting
    from drkit.traffic.memory import MemorySwitch

    switch = MemorySwitch(setting=Setting(True, None))
    monkeypatch.setattr(App, "switches", lambda _app, _namespace: (switch,))


def test_a_runbook_is_planned_by_its_own_kind(
    shipped: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    _held(shipped, monkeypatch)
    plans = {
        name: plan_named(shipped, name)
        for name in ("primary-gpu-down", "emergency-rollback", "failback")
    }
    assert {name: (plan.kind, plan.target) for name, plan in plans.items()} == {
        "primary-gpu-down": ("failover", "spare"),
        "emergency-rollback": ("switchover", EXTERNAL),
        "failback": ("failback", EXTERNAL),
    }


def test_the_screen_of_a_failback_says_what_comes_home_and_what_is_given_back(
    shipped: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    _held(shipped, monkeypatch)
    plan = plan_named(shipped, "failback")
    said = "\n".join(plan_head(shipped.config, plan))
    assert "traffic alone, for no data was brought away" in said
    assert "no machine is given back" in said
    brought = {"brought": {"sncp": {"into": "/there"}, "qdrant": {}}}
    steps = tuple(replace(step, arguments=brought) for step in plan.steps)
    away = replace(plan, target="spare", steps=steps)
    said = "\n".join(plan_head(shipped.config, away))
    assert "brings home: sncp, qdrant" in said
    assert "the machine at spare is given back after the commit" in said


@pytest.mark.parametrize(
    ("name", "to"),
    [("emergency-rollback", "spare"), ("failback", "spare"), ("primary-gpu-down", "nowhere")],
)
def test_a_target_that_does_not_fit_is_refused(
    shipped: App, monkeypatch: pytest.MonkeyPatch, name: str, to: str
) -> None:
    _held(shipped, monkeypatch)
    with pytest.raises(ConfigError):
        plan_named(shipped, name, to=to)


def _plan(app: App, name: str = "primary-gpu-down") -> Plan:
    return plan_named(app, name)


def test_a_plan_says_what_each_step_does_and_why_one_is_skipped(shipped: App) -> None:
    plan = _plan(shipped)
    values = plan_values(shipped.config, plan)
    assert values["critical_path_min"] == 26
    assert {step["effect"] for step in values["steps"]} == {
        *("read", "write", "paid", "fence", "traffic")
    }
    said = "\n".join(plan_screen(shipped.config, plan))
    assert "L40: at most $1.00 an hour" in said
    assert "acquire (acquire): effect paid" in said
    first, *rest = plan.steps
    skipped = replace(plan, steps=(replace(first, skip="told so"), *rest))
    assert "hold: skipped: told so" in "\n".join(plan_screen(shipped.config, skipped))
    assert plan_values(shipped.config, skipped)["steps"][0]["by_hand"] == []
    waits = replace(plan, steps=(replace(first, approval="operator"), *rest))
    assert "waits for your approval" in "\n".join(plan_screen(shipped.config, waits))


def test_each_kind_asks_its_own_question(shipped: App) -> None:
    plan = _plan(shipped)
    assert "on spare?" in _question(plan)
    assert "home to gpu" in _question(replace(plan, kind="failback"))
    assert "external API now?" in _question(replace(plan, kind="switchover", target=EXTERNAL))


def test_a_runbook_of_another_kind_is_no_failback(
    shipped: App, session: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from contextlib import contextmanager

    from drkit.cli.runs import executing

    @contextmanager
    def opened(_session: Any, **_options: Any) -> Any:
        yield shipped

    monkeypatch.setattr(executing, "opened", opened)
    with pytest.raises(ConfigError, match="is a failover and no failback"):
        execute_named(session(), "primary-gpu-down", to=None, yes=True, kind="failback")
    asked = session(dry_run=True)
    assert execute_named(asked, "primary-gpu-down", to=None, yes=False) == 0
    assert "by hand:" in asked.out.getvalue()
    assert open_journal(shipped).runs() == []
    monkeypatch.setattr(executing.typer, "confirm", lambda _question: False)
    monkeypatch.setattr(executing, "check_credentials", lambda *_: None)
    with pytest.raises(NeedsOperator, match="not confirmed"):
        execute_named(session(), "emergency-rollback", to=None, yes=False)
    assert open_journal(shipped).runs() == []


def test_how_long_users_took_is_told_once_they_were_seen_there(shipped: App, session: Make) -> None:
    journal = open_journal(shipped)
    run = journal.open_run(_plan(shipped, "emergency-rollback"), sandbox=False)
    _tell_held(asked := session(), shipped, run.id)
    assert asked.out.getvalue() == ""
    journal.append(run.id, "intent", step="verify_held")
    shipped.clock.advance(2.5)  # type: ignore[attr-defined]
    journal.append(run.id, "done", step="verify_held", payload={"output": {}})
    _tell_held(asked := session(), shipped, run.id)
    assert "2.5 s after the run began" in asked.out.getvalue()


def test_what_worked_lately_is_known_from_real_runs_of_this_machine(
    shipped: App, tmp_path: Path
) -> None:
    clock = shipped.clock
    (tmp_path / "schedules.yaml").write_text(render_config(shipped.written))
    assert known_of(shipped.written, tmp_path, clock=clock)("x").used_s == {}
    journal = open_journal(shipped)
    run = journal.open_run(_plan(shipped), sandbox=False)
    journal.append(run.id, "intent", step="preflight")
    journal.append(run.id, "done", step="preflight", payload={"output": {"unreachable": ["two"]}})
    proof = {"check": "golden logprobs", "passed": True}
    journal.append(run.id, "intent", step="verify")
    journal.append(run.id, "done", step="verify", payload={"proofs": [proof]})
    clock.advance(100)  # type: ignore[attr-defined]
    known = known_of(shipped.written, tmp_path, clock=clock)("primary-gpu-down")
    assert known.used_s["stores.one"] == 100
    assert "stores.two" not in known.used_s
    assert known.used_s["targets.spare"] == 100
    assert known.golden is True
    assert known.file_name == "primary-gpu-down"


def test_what_worked_in_the_sandbox_counts_for_nothing(shipped: App, tmp_path: Path) -> None:
    journal = open_journal(shipped)
    run = journal.open_run(_plan(shipped), sandbox=True)
    journal.append(run.id, "intent", step="preflight")
    journal.append(run.id, "done", step="preflight", payload={"output": {}})
    assert known_of(shipped.written, tmp_path, clock=shipped.clock)("x").used_s == {}
