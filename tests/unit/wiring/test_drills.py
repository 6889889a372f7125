"""When a real drill last passed, and by when the next one has to."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from drkit.operations.status.drills import DrillStanding
from drkit.operations.status.status import Status, status_of
from drkit.runs.actions.catalog import ACTIONS
from drkit.runs.book.plan import make_plan
from drkit.runs.book.schema import load_runbook
from drkit.runs.journal.journal import Journal
from drkit.runs.records import RunRecord, RunState
from drkit.wiring import App
from drkit.wiring.run import conclude, open_journal
from drkit.wiring.status import drills_standing

RUNBOOK = Path(__file__).parents[3] / "runbooks" / "primary-gpu-down.yaml"
DAY_S = 86400.0


def opened(app: App, kind: Any = "drill", *, sandbox: bool = False) -> tuple[Journal, RunRecord]:
    book = load_runbook(RUNBOOK).model_copy(update={"lost": ("gpu",)})
    journal = open_journal(app)
    plan = make_plan(book, config=app.config, kind=kind, target="spare", actions=ACTIONS)
    return journal, journal.open_run(plan, sandbox=sandbox)


def run(app: App, outcome: str, kind: Any = "drill") -> str:
    """A run that came to its end now, and left in the stores what such a run leaves."""
    journal, found = opened(app, kind)
    point = {"output": {"snapshot_id": "s"}}
    journal.append(found.id, "done", step="point", attempt=1, payload=point)
    journal.record(found.id, outcome=outcome)
    conclude(app, journal, replace(found, state=RunState.DONE, outcome=outcome))
    return found.id


def seen(app: App) -> Status:
    return status_of(app.repository, [], {}, app.clock.now())


def standing(app: App, stores: Status | None = None) -> DrillStanding:
    found = drills_standing(app, stores or seen(app))
    assert found is not None
    return found


def after(app: Any, days: float) -> Any:
    app.clock.advance(days * DAY_S)
    return app.clock.now()


def test_a_fresh_installation_has_time_for_its_first_drill(app: App) -> None:
    assert app.database
    now = after(app, 89)
    assert standing(app).cause(now) is None
    assert "no drill has passed yet; the next is due in 1 d" in standing(app).words(now)

    cause = standing(app).cause(after(app, 2))
    assert cause == "DRILL OVERDUE: none has passed, one every 90 d is wanted; drkit run-drill"


def test_a_new_machine_is_no_fresh_installation(app: App) -> None:
    old = replace(seen(app), first_point_at=app.clock.now() - timedelta(days=100))
    assert standing(app, old).overdue_s(app.clock.now()) == 10 * DAY_S


def test_it_is_counted_from_the_last_drill_that_passed(app: App) -> None:
    run_id = run(app, "passed")
    now = after(app, 91)
    found = standing(app)
    assert (found.run_id, found.overdue_s(now)) == (run_id, DAY_S)
    assert found.words(now) == (
        f"the last drill that passed: 91 d ago ({run_id}); the next is OVERDUE by 1 d"
    )
    assert found.cause(now) == (
        "DRILL OVERDUE: the last passed 91 d ago, one every 90 d is wanted; drkit run-drill"
    )


@pytest.mark.parametrize("outcome", ["failed", "interrupted"])
def test_a_drill_that_did_not_pass_does_not_count(app: App, outcome: str) -> None:
    run(app, outcome)
    assert standing(app).last_at is None


def test_a_rehearsal_in_the_sandbox_counts_for_nothing_real(app: App) -> None:
    journal, rehearsed = opened(app, sandbox=True)
    journal.record(rehearsed.id, outcome="passed")
    assert standing(app).last_at is None


def test_a_failover_is_no_drill(app: App) -> None:
    run(app, "committed", "failover")
    assert seen(app).proof_age_s == {"one": 0.0, "two": 0.0}
    assert standing(app).last_at is None


def test_a_drill_of_another_machine_is_known_by_what_it_left_in_a_store(
    open_app: Any, app: App, tmp_path: Path
) -> None:
    run_id = run(app, "passed")
    app.store("two").delete(f"runs/{run_id}/proof")
    other = open_app(state={"path": str(tmp_path / "elsewhere")})
    assert open_journal(other).runs() == []
    assert standing(other).run_id == run_id

    renamed = open_app(
        state={"path": str(tmp_path / "elsewhere")},
        service={**app.config.service.model_dump(mode="json"), "name": "helper"},  # type: ignore[union-attr]
    )
    assert standing(renamed).last_at is None


def test_the_sandbox_and_a_deployment_without_targets_are_never_overdue(
    open_app: Any, app: App
) -> None:
    nothing = seen(app)
    assert drills_standing(open_app(sandbox=True), nothing) is None
    assert drills_standing(open_app(targets={}), nothing) is None
    assert drills_standing(open_app(service=None, targets={}, switch={}), nothing) is None
