"""Verbs of `drkit runs` at a terminal and in a pipe: what is asked, refused, left with the run."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from drkit.cli.errors import Detached
from drkit.cli.runs import following, open_run, steering
from drkit.cli.runs.following import _look_on
from drkit.cli.runs.running import plan_run
from drkit.cli.terminal.output import TextTerminal
from drkit.coordination.interface import ArbiterUnreachable
from drkit.errors import ConfigError, GuardRefused, NeedsOperator
from drkit.runs.records import RunRecord, RunState
from drkit.state.audit import AuditLog
from drkit.wiring import App
from drkit.wiring.run import open_journal

RUNBOOKS = Path(__file__).parents[3] / "runbooks"


@pytest.fixture
def session(tmp_path: Path, app: App) -> Any:
    out = io.StringIO()
    return SimpleNamespace(
        terminal=TextTerminal(out, out, app.clock),
        out=out,
        config_path=tmp_path,
        sandbox=False,
        json_lines=False,
        dry_run=False,
    )


class Started(list[tuple[str, ...]]):
    """The runs that were started, each with its words."""


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    seen = Started()

    def start(_session: Any, _app: App, _journal: Any, run_id: str, *words: str) -> int:
        seen.append((run_id, *words))
        return 25

    monkeypatch.setattr(steering, "start_and_attach", start)
    return seen


@pytest.fixture
def run(app: App, tmp_path: Path) -> RunRecord:
    """An open run that nobody executes."""
    text = (RUNBOOKS / "primary-gpu-down.yaml").read_text()
    text = text.replace("lost: [lambda]", "lost: [gpu]")
    text = text.replace("action: fence\n", "action: fence\n    approval: operator\n")
    (tmp_path / "runbooks" / "gpu.yaml").write_text(
        text.replace("name: primary-gpu-down", "name: gpu")
    )
    plan = plan_run(app, "gpu", kind="failover", target="spare")
    return open_journal(app).open_run(plan, sandbox=False)


def at_a_terminal(monkeypatch: pytest.MonkeyPatch, *answers: str) -> None:
    left = list(answers)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda _question="": left.pop(0))


def asked(app: App, run: RunRecord) -> str | None:
    ask = open_journal(app).run(run.id).asked
    return ask.what if ask else None


def audited(app: App) -> list[str]:
    return [line.what for line in AuditLog(app.database, app.clock).entries()]


def test_a_rollback_is_confirmed_and_where_nobody_can_say_yes_nothing_is_asked(
    session: Any, app: App, run: RunRecord, started: Started
) -> None:
    with pytest.raises(NeedsOperator) as caught:
        steering.roll_back(session, app, run.id, yes=False)
    assert caught.value.hint == f"drkit runs rollback {run.id} --yes"
    assert (asked(app, run), started, audited(app)) == (None, [], [])
    steering.roll_back(session, app, run.id, yes=True)
    assert (asked(app, run), started) == ("rollback", [(run.id,)])
    assert audited(app) == ["run rolled back"]


def test_a_dry_run_says_what_would_be_and_leaves_nothing(
    session: Any, app: App, run: RunRecord, started: Started
) -> None:
    session.dry_run = True
    assert steering.roll_back(session, app, run.id, yes=True) == 0
    assert steering.abort_run(session, app, run.id) == 0
    steering.skip_named(session, app, run.id, "preflight", "why")
    assert (asked(app, run), started, audited(app)) == (None, [], [])
    assert len(open_journal(app).entries(run.id)) == 1


def test_an_abort_of_a_run_that_nobody_executes_says_what_can_follow(
    session: Any, app: App, run: RunRecord, started: Started
) -> None:
    assert steering.abort_run(session, app, run.id) == 0
    assert open_journal(app).run(run.id).state is RunState.NEEDS_OPERATOR
    said = session.out.getvalue()
    for verb in ("resume", "rollback", "retarget"):
        assert f"drkit runs {verb} {run.id}" in said
    assert started == []


def test_a_skip_needs_a_reason(session: Any, app: App, run: RunRecord) -> None:
    with pytest.raises(ConfigError, match="for a reason"):
        steering.skip_named(session, app, run.id, "preflight", "  ")
    steering.skip_named(session, app, run.id, "preflight", "the provider's API is down")
    (line,) = [e for e in open_journal(app).entries(run.id) if e.kind == "skipped"]
    assert line.payload["reason"] == "the provider's API is down"
    assert "@" in str(line.payload["who"])
    assert audited(app) == ["step skipped"]


def test_what_waits_for_approval_is_approved_by_name_and_nothing_else(
    session: Any, app: App, run: RunRecord, started: Started
) -> None:
    with pytest.raises(NeedsOperator, match=r"no step .* waits"):
        steering.approve_steps(session, app, run.id, None)
    with pytest.raises(ConfigError, match="needs no approval"):
        steering.approve_steps(session, app, run.id, "acquire")
    steering.approve_steps(session, app, run.id, "fence")
    (line,) = [e for e in open_journal(app).entries(run.id) if "approved" in e.payload]
    assert (line.step, started) == ("fence", [(run.id,)])


def test_what_waits_is_found_without_its_name(app: App, run: RunRecord) -> None:
    journal = open_journal(app)
    assert steering.run_that_waits(app, run.service) is None, "it waits for other steps yet"
    for step in ("preflight", "acquire", "point"):
        journal.append(run.id, "skipped", step=step, payload={"reason": "x", "who": "test"})
    assert steering.run_that_waits(app, run.service) == run.id
    assert steering.run_that_waits(app, "another") is None


def test_a_run_that_is_executed_is_looked_at_and_not_executed_twice(
    session: Any, app: App, run: RunRecord, started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("drkit.runs.journal.reading.lives", lambda _pid, _mark: True)
    monkeypatch.setattr(steering, "attach", lambda *_arguments: 7)
    assert steering.go_on(session, app, run.id) == 7
    assert started == []


def test_a_resume_withdraws_a_stop_that_was_asked_for_before(
    session: Any, app: App, run: RunRecord, started: Started
) -> None:
    following.ask_for(open_journal(app), run.id, "stop")
    steering.go_on(session, app, run.id)
    assert (asked(app, run), started) == (None, [(run.id,)])
    following.ask_for(open_journal(app), run.id, "rollback")
    steering.go_on(session, app, run.id)
    assert asked(app, run) == "rollback"


def test_the_latest_run_to_go_on_with_is_one_that_is_open_here_or_else_elsewhere(
    session: Any, app: App, run: RunRecord, started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def others(_app: App, selector: str, known: set[str]) -> None:
        seen.append((selector, known))

    monkeypatch.setattr("drkit.wiring.run.others_run", others)
    steering.go_on(session, app, "latest")
    assert (started, seen) == ([(run.id,)], [])
    journal = open_journal(app)
    journal.claim(run.id)
    journal.set_state(run.id, RunState.ROLLING_BACK)
    journal.set_state(run.id, RunState.ROLLED_BACK)
    steering.go_on(session, app, "latest")
    assert seen == [("latest", {run.id})]
    with pytest.raises(ConfigError, match="there is no run"):
        steering.go_on(session, app, "failover-1999")


def test_a_run_that_has_ended_is_not_steered(
    session: Any, app: App, run: RunRecord, started: Started
) -> None:
    journal = open_journal(app)
    journal.claim(run.id)
    journal.set_state(run.id, RunState.ROLLING_BACK)
    journal.set_state(run.id, RunState.ROLLED_BACK)
    for verb in (
        lambda: steering.roll_back(session, app, run.id, yes=True),
        lambda: steering.abort_run(session, app, run.id),
        lambda: steering.one_step(session, app, run.id),
        lambda: steering.skip_named(session, app, run.id, "preflight", "why"),
    ):
        with pytest.raises(ConfigError, match="has ended"):
            verb()
    assert started == []


def offered(session: Any, app: App) -> int | None:
    plan = plan_run(app, "gpu", kind="failover", target="spare")
    return open_run.offer_open_run(session, app, plan)


def test_without_an_open_run_nothing_is_offered(
    session: Any, app: App, run: RunRecord, started: Started
) -> None:
    journal = open_journal(app)
    journal.claim(run.id)
    journal.set_state(run.id, RunState.ROLLING_BACK)
    journal.set_state(run.id, RunState.ROLLED_BACK)
    assert offered(session, app) is None


def test_in_a_pipe_an_open_run_is_named_with_the_exact_commands(
    session: Any, app: App, run: RunRecord, started: Started
) -> None:
    with pytest.raises(NeedsOperator, match=run.id) as caught:
        offered(session, app)
    assert f"drkit runs resume {run.id}" in caught.value.hint
    assert f"drkit runs rollback {run.id} --yes" in caught.value.hint
    assert caught.value.exit_status == 25
    assert started == []


def test_at_a_terminal_nothing_is_chosen_for_the_operator(
    session: Any, app: App, run: RunRecord, started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    for answer in ("", "n", "yes please"):
        at_a_terminal(monkeypatch, answer)
        with pytest.raises(NeedsOperator, match="stays as it is"):
            offered(session, app)
    at_a_terminal(monkeypatch, "g")
    assert offered(session, app) == 25
    assert started == [(run.id,)]
    at_a_terminal(monkeypatch, "r")
    assert offered(session, app) == 25, "not yet rolled back: no new run"
    assert asked(app, run) == "rollback"


class Pressed:
    """Ctrl-C, as often as it is said, then the run's end."""

    def __init__(self, times: int) -> None:
        self.left = times

    def __call__(self, *_arguments: Any) -> int:
        if self.left:
            self.left -= 1
            raise KeyboardInterrupt
        return 7


def test_the_first_ctrl_c_looks_away_and_says_how_to_look_on_again(
    session: Any, app: App, run: RunRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_a_terminal(monkeypatch)
    monkeypatch.setattr(following, "_follow", Pressed(1))
    monkeypatch.setattr(following.time, "sleep", lambda _s: None)
    with pytest.raises(Detached) as caught:
        _look_on(session, open_journal(app), run.id, 0, None)
    assert caught.value.exit_status == 130
    assert f"drkit runs attach {run.id}" in caught.value.hint
    assert "attach" not in session.out.getvalue()  # said once, by who tells of the error
    assert asked(app, run) is None


@pytest.mark.parametrize(("answer", "wanted"), [("s", "stop"), ("r", "rollback")])
def test_the_second_ctrl_c_asks_what_to_do(
    session: Any,
    app: App,
    run: RunRecord,
    monkeypatch: pytest.MonkeyPatch,
    answer: str,
    wanted: str,
) -> None:
    at_a_terminal(monkeypatch, answer)
    monkeypatch.setattr(following, "_follow", Pressed(1))
    monkeypatch.setattr(following.time, "sleep", Pressed(1))
    assert _look_on(session, open_journal(app), run.id, 0, None) == 7
    assert asked(app, run) == wanted


def test_the_second_ctrl_c_in_a_pipe_asks_nothing(
    session: Any, app: App, run: RunRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    monkeypatch.setattr(following, "_follow", Pressed(1))
    with pytest.raises(Detached):
        _look_on(session, open_journal(app), run.id, 0, None)
    assert asked(app, run) is None


def away(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_role(_service: str) -> None:
        raise ArbiterUnreachable("the arbiter does not answer", hint="bring it back")

    monkeypatch.setattr(app.arbiter, "read_role", read_role)


def test_R1_without_the_arbiter_nothing_goes_on_and_the_way_is_named(
    session: Any, app: App, run: RunRecord, started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    away(app, monkeypatch)
    with pytest.raises(ArbiterUnreachable) as caught:
        steering.go_on(session, app, run.id)
    assert "--break-glass" in caught.value.hint
    assert started == []


@pytest.mark.parametrize("typed", ["", "yes", "y", "Assistant"])
def test_R1_glass_is_broken_by_the_name_of_the_service_and_nothing_else(
    session: Any,
    app: App,
    run: RunRecord,
    started: Started,
    monkeypatch: pytest.MonkeyPatch,
    typed: str,
) -> None:
    away(app, monkeypatch)
    with pytest.raises(NeedsOperator, match="typed by a person"):
        steering.go_on(session, app, run.id, break_glass=True)
    at_a_terminal(monkeypatch, typed)
    with pytest.raises(NeedsOperator, match="not its name"):
        steering.go_on(session, app, run.id, break_glass=True)
    assert started == []
    at_a_terminal(monkeypatch, "assistant")
    steering.go_on(session, app, run.id, break_glass=True)
    assert started == [(run.id, "--break-glass")]


def test_R1_there_is_no_glass_to_break_while_the_arbiter_answers(
    session: Any, app: App, run: RunRecord, started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_a_terminal(monkeypatch, "assistant")
    with pytest.raises(GuardRefused, match="the arbiter answers"):
        steering.go_on(session, app, run.id, break_glass=True)
    assert started == []
