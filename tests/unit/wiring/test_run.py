"""What a run is executed with, in production, in a drill, and in the sandbox."""

import json
import signal
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from drkit.errors import ConfigError, MissingCredential, PlaceError
from drkit.events import Note, discard
from drkit.io_policy import Deadline
from drkit.operations.status.status import status_of
from drkit.runs.actions.catalog import ACTIONS
from drkit.runs.book.plan import Plan, make_plan
from drkit.runs.book.schema import load_runbook
from drkit.runs.records import RunState
from drkit.sandbox.overrides import SANDBOX_PACE
from drkit.wiring import App
from drkit.wiring.run import conclude, open_journal, run_context, write_evidence

RUNBOOK = Path(__file__).parents[3] / "runbooks" / "primary-gpu-down.yaml"


def plan_of(app: App, kind: Any = "failover") -> Plan:
    values = load_runbook(RUNBOOK).model_copy(update={"lost": ("gpu",)})
    return make_plan(values, config=app.config, kind=kind, target="spare", actions=ACTIONS)


def opened(app: App, kind: Any = "failover") -> tuple[Any, Any]:
    journal = open_journal(app)
    return journal, journal.open_run(plan_of(app, kind), sandbox=app.sandbox)


def names(app: App, store: str) -> set[str]:
    return {info.name for info in app.store(store).list("runs/")}


def test_R3_K2_an_intent_is_sealed_into_one_store(app: App) -> None:
    journal, run = opened(app)
    journal.append(run.id, "intent", step="acquire", attempt=1)
    (name,) = names(app, "one")
    assert names(app, "two") == set()
    sealed = app.store("one").get(name)
    assert b"acquire" not in sealed
    content = json.loads(app.repository.key.open(sealed))
    assert content["entries"][-1]["step"] == "acquire"
    assert content["run"]["machine"] == app.machine
    assert not journal.run(run.id).local_only


def test_R3_a_store_that_hangs_is_not_waited_for_and_not_asked_first_again(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert app.repository
    asked = []
    monkeypatch.setattr("drkit.wiring.run.INTENT_COPY", Deadline(connect_s=1, total_s=1))
    over = threading.Event()

    def hang(name: str, *_arguments: object, **_settings: object) -> None:
        asked.append(name)
        over.wait(20)

    journal, run = opened(app)
    monkeypatch.setattr(app.store("one"), "put", hang)
    for _ in range(2):
        journal.append(run.id, "intent", step="acquire", attempt=1)
    over.set()
    assert len(asked) == 1
    assert len(names(app, "two")) == 2
    assert not journal.run(run.id).local_only


def test_R3_a_store_that_refuses_hands_on_to_the_next_and_none_means_local_only(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert app.repository

    def refuse(*_arguments: object, **_settings: object) -> None:
        raise PlaceError("full", hint="make room")

    journal, run = opened(app)
    monkeypatch.setattr(app.store("one"), "put", refuse)
    journal.append(run.id, "intent", step="acquire", attempt=1)
    assert (len(names(app, "one")), len(names(app, "two"))) == (0, 1)
    assert not journal.run(run.id).local_only
    monkeypatch.setattr(app.store("two"), "put", refuse)
    journal.append(run.id, "intent", step="deploy", attempt=1)
    assert journal.run(run.id).local_only


def test_R3_without_a_repository_a_run_is_local_only(open_app: Any) -> None:
    app = open_app()
    journal, run = opened(app)
    journal.append(run.id, "intent", step="acquire", attempt=1)
    assert journal.run(run.id).local_only


def test_a_failover_works_on_the_names_of_production_at_its_own_pace(
    app: App, tmp_path: Path
) -> None:
    journal, run = opened(app)
    context = run_context(app, journal, run.id)
    assert context.namespace == "production"
    assert context.gateway_url == "http://127.0.0.1:3"
    assert len(context.switches) == 2
    assert (context.time_scale, context.observe_s, context.settle_s) == (1.0, 1800.0, 30.0)
    assert context.work_dir == tmp_path / ".drkit" / "runs" / run.id
    assert context.work_dir.is_dir()
    assert context.holder.endswith(f"/{run.id}")
    assert context.plan == journal.plan(run.id)


def test_R11_a_drill_gets_no_name_of_production(app: App) -> None:
    journal, run = opened(app, "drill")
    context = run_context(app, journal, run.id)
    assert context.namespace == "drill"
    assert context.gateway_url == "http://127.0.0.1:4"
    assert {switch.record for switch in context.switches} == {"http://127.0.0.1:4"}


def test_the_sandbox_has_the_pace_that_is_declared(open_app: Any, app: App) -> None:
    sandbox = open_app(sandbox=True)
    journal, run = opened(sandbox)
    context = run_context(sandbox, journal, run.id)
    declared = (SANDBOX_PACE.time_scale, SANDBOX_PACE.observe_s, SANDBOX_PACE.settle_s)
    assert (context.time_scale, context.observe_s, context.settle_s) == declared


def test_a_rehearsed_crash_happens_in_the_sandbox_only(
    open_app: Any, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr("signal.pthread_kill", lambda *sent_to: sent.append(sent_to))
    monkeypatch.setenv("DRKIT_BREAK", "acquire:after-effect:kill")
    journal, run = opened(app)
    run_context(app, journal, run.id).breakpoint("acquire", "after-effect")
    assert sent == []
    sandbox = open_app(sandbox=True)
    context = run_context(sandbox, journal, run.id)
    context.breakpoint("acquire", "before-intent")
    context.breakpoint("deploy", "after-effect")
    assert sent == []
    context.breakpoint("acquire", "after-effect")
    assert [number for _, number in sent] == [signal.SIGKILL]
    monkeypatch.setenv("DRKIT_BREAK", "acquire:after-effect")
    with pytest.raises(ConfigError, match="DRKIT_BREAK"):
        run_context(sandbox, journal, run.id)


def test_vectors_go_to_the_server_meant_for_them_with_its_key(app: App) -> None:
    journal, run = opened(app)
    place = run_context(app, journal, run.id).restore_qdrant_to
    assert place("vectors") == ("http://127.0.0.1:2", "correct horse")
    assert place("notes") is None
    assert place("nothing") is None


def test_K3_a_secret_that_is_missing_here_is_said_when_it_is_used(app: App, tmp_path: Path) -> None:
    journal, run = opened(app)
    context = run_context(app, journal, run.id)
    (tmp_path / "password").unlink()
    with pytest.raises(MissingCredential):
        context.restore_qdrant_to("vectors")


def test_K2_evidence_is_written_whole_and_kept_sealed_in_every_store(app: App) -> None:
    journal, run = opened(app)
    evidence, paths = write_evidence(app, journal, run.id)
    assert evidence.run_id == run.id
    assert Path(paths["html"]).read_text().startswith("<!doctype html>")
    written = json.loads(Path(paths["json"]).read_bytes())
    assert run.id in json.dumps(written)
    folder = Path(paths["json"]).parent
    assert {path.name for path in folder.iterdir()} == {"evidence.html", "evidence.json"}

    conclude(app, journal, run)
    for store in app.stores:
        sealed = store.get(f"runs/{run.id}/evidence.json")
        assert run.id.encode() not in sealed
        assert app.repository.key.open(sealed) == Path(paths["json"]).read_bytes()


def ended(run: Any, outcome: str) -> Any:
    return replace(run, state=RunState.DONE, outcome=outcome)


def prove(app: App, outcome: str) -> list[float | None]:
    journal, run = opened(app)
    journal.append(
        run.id, "done", step="point", attempt=1, payload={"output": {"snapshot_id": "s"}}
    )
    conclude(app, journal, ended(run, outcome))
    status = status_of(app.repository, [], {}, app.clock.now())
    return list(status.proof_age_s.values())


@pytest.mark.parametrize("outcome", ["passed", "committed"])
def test_a_run_that_succeeded_proves_its_point_in_every_store(app: App, outcome: str) -> None:
    assert prove(app, outcome) == [0.0, 0.0]


@pytest.mark.parametrize("outcome", ["failed", "rolled back", "interrupted"])
def test_a_run_that_did_not_proves_nothing(app: App, outcome: str) -> None:
    assert prove(app, outcome) == [None, None]


def test_a_store_that_takes_nothing_is_told_and_the_others_get_it_all(
    app: App, events: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert app.repository

    def refuse(*_arguments: object, **_settings: object) -> None:
        raise PlaceError("full", hint="make room")

    monkeypatch.setattr(app.store("one"), "put", refuse)
    assert prove(app, "passed") == [None, 0.0]
    told = [event.text for event in events if isinstance(event, Note) and event.subject == "one"]
    assert len(told) == 2 and all("did not take runs/" in text for text in told)


def test_the_journal_of_a_deployment_lies_in_its_state(app: App) -> None:
    _, run = opened(app)
    again = App(app.written, app.root, sandbox=False, emit=discard, clock=app.clock)
    assert [each.id for each in open_journal(again).runs()] == [run.id]
    assert (app.state_dir / "state.sqlite").is_file()
