"""A run as the command line sees it: its plan, who is probed, its lines and its exit status."""

import io
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from run_records import RUN

from drkit.cli.runs.following import _follow, _report, entry_line, exit_status
from drkit.cli.runs.running import first_failed_probe, plan_lines, plan_run, watch_until_down
from drkit.cli.terminal.output import TextTerminal
from drkit.compute.interface import Endpoint
from drkit.coordination.interface import RoleRecord
from drkit.errors import ConfigError
from drkit.health.memory import MemoryProber
from drkit.runs.records import Entry, RunState
from drkit.wiring import App
from drkit.wiring.run import open_journal
from drkit.wiring.watch import serving

PRIMARY = "http://127.0.0.1:8000"
RUNBOOKS = Path(__file__).parents[3] / "runbooks"
AT = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.fixture
def runbooks(app: App, tmp_path: Path) -> App:
    text = (RUNBOOKS / "primary-gpu-down.yaml").read_text()
    (tmp_path / "runbooks" / "gpu.yaml").write_text(text.replace("lost: [lambda]", "lost: [gpu]"))
    return app


def test_a_plan_is_for_the_first_target_unless_one_is_named(runbooks: App) -> None:
    plan = plan_run(runbooks, "gpu", kind="drill", target=None)
    assert (plan.target, plan.namespace, plan.lost) == ("spare", "drill", ("gpu",))
    with pytest.raises(ConfigError, match="nowhere"):
        plan_run(runbooks, "gpu", kind="drill", target="nowhere")
    with pytest.raises(ConfigError, match="absent"):
        plan_run(runbooks, "absent", kind="drill", target=None)


def test_without_a_target_there_is_no_plan(open_app: Any) -> None:
    with pytest.raises(ConfigError, match="has no target"):
        plan_run(open_app(targets={}), "gpu", kind="failover", target="spare")


def test_the_screen_names_target_price_losses_and_every_step(runbooks: App) -> None:
    plan = plan_run(runbooks, "gpu", kind="failover", target="spare")
    lines = list(plan_lines(runbooks, plan))
    assert lines[0] == f"failover of assistant to spare, by {plan.runbook} ({plan.checksum[:12]})"
    assert "L40: at most $1.00 an hour" in lines[1]
    assert "cap for the run: none; lost: gpu; point: latest" in lines[2]
    shown = [line.split()[0] for line in lines[3:]]
    assert shown == [step.id for step in plan.steps]


def test_R2_who_is_probed_follows_the_role_record(app: App) -> None:
    assert serving(app) == ("gpu", Endpoint("http", "127.0.0.1", 8000))
    lease = app.arbiter.acquire("assistant", "run", ttl_s=60)
    moved = RoleRecord("assistant", 1, "spare", "http://127.0.0.1:9000", AT, "run")
    app.arbiter.record_role(lease, moved)
    assert serving(app) == ("spare", Endpoint("http", "127.0.0.1", 9000))


def test_without_a_service_there_is_nothing_to_probe(open_app: Any) -> None:
    with pytest.raises(ConfigError, match="no service to watch"):
        serving(open_app(service=None))


@pytest.fixture
def prober(app: App, tmp_path: Path) -> MemoryProber:
    (tmp_path / "key").write_text("k")
    made = MemoryProber(app.clock)
    app.__dict__["prober"] = made  # what the cached property would keep
    return made


def test_a_probe_that_fails_now_is_the_beginning_of_the_outage(
    app: App, prober: MemoryProber
) -> None:
    assert first_failed_probe(app) == app.clock.now()
    prober.set(PRIMARY, "m")
    assert first_failed_probe(app) is None


def test_the_primary_is_killed_once_it_was_seen_healthy_and_watched_until_it_is_down(
    app: App, prober: MemoryProber
) -> None:
    prober.set(PRIMARY, None, "m", "m", "m", "m", "m", "m", "m", "m")
    killed: list[datetime] = []

    def kill() -> None:
        killed.append(app.clock.now())
        prober.set(PRIMARY, None)

    began = app.clock.now()
    failed_at = watch_until_down(app, Endpoint("http", "127.0.0.1", 8000), kill=kill)
    assert len(killed) == 1
    assert began < killed[0] < failed_at <= app.clock.now()
    down_after_s = (app.clock.now() - failed_at).total_seconds()
    assert down_after_s >= app.config.probe.down_after_s


def entry(kind: Any, step: str | None = "acquire", /, seq: int = 1, **payload: Any) -> Entry:
    return Entry(seq, AT, 61.0, step, 1, kind, payload)


@pytest.mark.parametrize(
    ("kind", "outcome", "failed", "status"),
    [
        ("drill", "passed", [], 0),
        ("failover", "committed", ["PlaceError"], 0),
        ("drill", "failed", ["ProofsFailed"], 23),
        ("drill", None, [], 23),
        ("failover", "rolled back", ["ProofsFailed"], 22),
        ("failover", "rolled back", ["DamagedData"], 22),
        ("failover", "rolled back", ["OutOfCapacity"], 26),
        ("failover", "rolled back", ["OutOfCapacity", "ProofsFailed"], 22),
        ("failover", "rolled back", ["PlaceError"], 25),
        ("failover", None, [], 25),
    ],
)
def test_the_exit_status_says_what_an_operator_must_know(
    kind: str, outcome: str | None, failed: list[str], status: int
) -> None:
    entries = [entry("failed", kind=name) for name in failed]
    assert exit_status(replace(RUN, kind=kind, outcome=outcome), entries) == status


@pytest.mark.parametrize(
    ("written", "line"),
    [
        (entry("intent", action="acquire"), "acquire        begins"),
        (entry("intent", action="acquire", undo=True), "acquire        is undone now"),
        (entry("done", proof="an L40"), "acquire        done: an L40"),
        (entry("failed", error="none to be had"), "acquire        FAILED: none to be had"),
        (entry("skipped", reason="a drill"), "acquire        skipped: a drill"),
        (entry("undone", proof="gone"), "acquire        undone: gone"),
        (entry("state", None, to="RUNNING"), "run            is RUNNING"),
        (entry("resumed", None, pid=7), "run            taken up again by process 7"),
        (entry("note", text="asks for an L40"), "acquire        asks for an L40"),
        (entry("note", None, evidence={"html": "e.html"}), "run            evidence: e.html"),
        (
            entry("note", None, former_holder=True),
            "run            waits until nothing can arrive that another process sent (T3)",
        ),
        (
            entry("note", effect_unknown="it timed out"),
            "acquire        not known whether it took effect: it timed out",
        ),
        (
            entry("note", undo_failed="refused", hint="destroy it"),
            "acquire        could not be undone: refused. destroy it",
        ),
    ],
)
def test_every_kind_of_entry_is_a_line(written: Entry, line: str) -> None:
    assert entry_line(written) == f"{'1 min 1 s':>10}  {line}"


@pytest.fixture
def session(tmp_path: Path, app: App) -> Any:
    out = io.StringIO()
    return SimpleNamespace(
        terminal=TextTerminal(out, out, app.clock), out=out, config_path=tmp_path, sandbox=False
    )


def test_following_shows_what_was_written_up_to_the_end_and_once(
    session: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process ends between two looks, and its last line comes with its end."""
    monkeypatch.setattr("time.sleep", lambda _s: None)
    written = [entry("intent", seq=1), entry("done", seq=2, proof="x")]
    polls = iter([None, None, 0])

    class Journal:
        def entries(self, _run_id: str, after: int = 0) -> list[Entry]:
            return [each for each in written if each.seq > after]

    def poll() -> int | None:
        status = next(polls)
        if status == 0:
            written.append(entry("done", seq=3, proof="the last"))
        return status

    process: Any = SimpleNamespace(poll=poll)
    _follow(session, Journal(), "r-1", process, 1)  # type: ignore[arg-type]
    assert [line.split("  ")[-1] for line in session.out.getvalue().splitlines()] == [
        "done: x",
        "done: the last",
    ]


def test_the_event_of_a_drill_that_failed_says_why(
    session: Any, runbooks: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = open_journal(runbooks)
    run = journal.open_run(plan_run(runbooks, "gpu", kind="drill", target="spare"), sandbox=False)
    journal.record(run.id, outcome="failed")
    journal.set_state(run.id, RunState.EVIDENCE, step="verify", reason="another model answers")
    journal.set_state(run.id, RunState.TEARDOWN)
    journal.set_state(run.id, RunState.DONE, outcome="failed")
    told: list[dict[str, Any]] = []
    monkeypatch.setattr(
        session.terminal, "result", lambda _kind, values, _text: told.append(values)
    )
    assert _report(session, runbooks, journal, run.id, tmp_path / "log") == 23
    assert told[0]["reason"] == "another model answers"


def test_a_run_that_stopped_names_its_log_and_how_to_go_on(
    session: Any, runbooks: App, tmp_path: Path
) -> None:
    journal = open_journal(runbooks)
    plan = plan_run(runbooks, "gpu", kind="failover", target="spare")
    run = journal.open_run(plan, sandbox=False)
    status = _report(session, runbooks, journal, run.id, tmp_path / "log")
    said = session.out.getvalue()
    assert status == 25
    assert f"its log: {tmp_path / 'log'}" in said
    assert f"drkit runs resume {run.id}" in said
    assert f"evidence: {tmp_path}/.drkit/evidence/{run.id}/evidence.html" in said
