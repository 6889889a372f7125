"""Who serves now, what was brought there by role record and journal, and its final point."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from drkit.coordination.interface import RoleRecord
from drkit.errors import ConfigError, GuardRefused, NeedsOperator
from drkit.points.find import list_points
from drkit.repository.format.keys import ScryptCost
from drkit.repository.repository import init_repository
from drkit.runs.actions.catalog import ACTIONS
from drkit.runs.book.plan import make_plan
from drkit.runs.book.schema import load_runbook
from drkit.runs.journal.journal import Journal
from drkit.runs.records import EXTERNAL
from drkit.sources.interface import SourceUnreadable
from drkit.traffic.interface import Setting
from drkit.traffic.memory import MemorySwitch
from drkit.wiring import App
from drkit.wiring.failback import back_up_brought, qdrant_home, serving_now
from drkit.wiring.run import open_journal

ROOT = Path(__file__).parents[3]
URL = "http://127.0.0.1:9000"


class Story:
    """What runs wrote down, one after the other."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.journal: Journal = open_journal(app)
        self.epoch = 0

    def failover(
        self, brought: dict[str, Any], *, sealed: bool = False, instance: str = "i-1"
    ) -> str:
        book = load_runbook(ROOT / "runbooks" / "primary-gpu-down.yaml")
        book = book.model_copy(update={"lost": ("gpu",)})
        plan = make_plan(
            book, config=self.app.config, kind="failover", target="spare", actions=ACTIONS
        )
        run = self.journal.open_run(plan, sandbox=False)
        for step, output in (
            ("acquire", {"instance_id": instance}),
            ("point", {"snapshot_id": "s-1"}),
            ("restore", {"restored": brought}),
        ):
            self.journal.append(run.id, "intent", step=step)
            self.journal.append(run.id, "done", step=step, payload={"output": output})
        if sealed:  # with the next intent, as in every run
            self.journal.append(run.id, "intent", step="verify")
        self.end(run.id)
        self.role("spare", URL, run.id)
        return run.id

    def held(self, former: dict[str, Any]) -> str:
        book = load_runbook(ROOT / "runbooks" / "emergency-rollback.yaml")
        plan = make_plan(
            book, config=self.app.config, kind="switchover", target=EXTERNAL, actions=ACTIONS
        )
        run = self.journal.open_run(plan, sandbox=False)
        self.journal.append(run.id, "note", step="record", payload={"former": former})
        self.end(run.id)
        self.role(EXTERNAL, None, run.id)
        return run.id

    def end(self, run_id: str, state: str = "COMMITTED") -> None:
        from drkit.state.schema import RUNS

        with self.app.database.write() as connection:
            connection.execute(
                RUNS.update()
                .where(RUNS.c.id == run_id)
                .values(ended_at=self.app.clock.now(), state=state, outcome=state.lower())
            )

    def role(self, site: str, url: str | None, run_id: str | None) -> None:
        self.epoch += 1
        lease = self.app.arbiter.acquire("assistant", "test", ttl_s=60)
        record = RoleRecord("assistant", self.epoch, site, url, self.app.clock.now(), run_id)
        self.app.arbiter.record_role(lease, record)
        self.app.arbiter.release(lease)


@pytest.fixture
def story(app: App) -> Story:
    return Story(app)


def _switches(app: App, *, held: bool) -> None:
    switch = MemorySwitch(setting=Setting(held, URL))
    app.switches = lambda _namespace: (switch,)  # type: ignore[method-assign,assignment]


def test_at_home_there_is_no_way_home(story: Story) -> None:
    _switches(story.app, held=False)
    with pytest.raises(GuardRefused, match="is at home"):
        serving_now(story.app, story.journal)
    story.role("gpu", "http://127.0.0.1:8000", None)
    with pytest.raises(GuardRefused, match="is at home"):
        serving_now(story.app, story.journal)


def test_users_who_are_held_at_home_are_brought_home_from_the_external_api(story: Story) -> None:
    _switches(story.app, held=True)
    assert serving_now(story.app, story.journal).site == EXTERNAL


def test_R2_who_serves_is_who_the_role_record_names_with_what_was_brought_there(
    story: Story,
) -> None:
    run_id = story.failover({"notes": {"into": "/there"}})
    serving = serving_now(story.app, story.journal)
    assert (serving.site, serving.endpoint_url, serving.run_id) == ("spare", URL, run_id)
    assert (serving.instance, serving.snapshot) == ("i-1", "s-1")
    assert serving.brought == {"notes": {"into": "/there"}}


def test_behind_a_hold_the_target_still_has_what_was_brought_there(story: Story) -> None:
    run_id = story.failover({"notes": {"into": "/there"}})
    former = {"site": "spare", "endpoint_url": URL, "run_id": run_id}
    story.held(former)
    serving = serving_now(story.app, story.journal)
    assert (serving.site, serving.run_id) == ("spare", run_id)
    assert serving.brought == {"notes": {"into": "/there"}}


def test_behind_two_holds_too(story: Story) -> None:
    run_id = story.failover({})
    first = story.held({"site": "spare", "endpoint_url": URL, "run_id": run_id})
    story.held({"site": EXTERNAL, "endpoint_url": None, "run_id": first})
    assert serving_now(story.app, story.journal).run_id == run_id


def test_behind_a_failover_that_was_taken_back_the_former_machine_serves(story: Story) -> None:
    run_id = story.failover({"notes": {"into": "/there"}})
    taken_back = story.failover({}, instance="i-2")
    former: Any = {"site": "spare", "endpoint_url": URL, "run_id": run_id}
    story.journal.append(taken_back, "note", step="cutover", payload={"former": former})
    story.end(taken_back, "ROLLED_BACK")
    story.role("spare", URL, taken_back)
    serving = serving_now(story.app, story.journal)
    assert (serving.run_id, serving.instance) == (run_id, "i-1")


def test_behind_a_hold_of_the_primary_nothing_is_left(story: Story) -> None:
    story.held({"site": "gpu", "endpoint_url": "http://127.0.0.1:8000", "run_id": None})
    assert serving_now(story.app, story.journal).site == EXTERNAL


def test_a_failover_of_which_nothing_is_known_here_is_not_guessed_at(story: Story) -> None:
    for run_id in ("failover-of-another-machine", None):
        story.role("spare", URL, run_id)
        with pytest.raises(NeedsOperator, match="the journal of run"):
            serving_now(story.app, story.journal)


def test_K5_another_machine_knows_it_from_the_stores(open_app: Any) -> None:
    shared = {"kind": "folder", "path": "arbiter"}
    here = open_app(arbiter=shared)
    cost = ScryptCost(1024, 8, 1)
    password = here.password
    init_repository(here.stores, password, clock=here.clock, hostname="h", cost=cost)
    story = Story(here)
    run_id = story.failover({"notes": {"into": "/there"}}, sealed=True)
    elsewhere = open_app(arbiter=shared, state={"path": "elsewhere"})
    journal = open_journal(elsewhere)
    assert journal.runs() == []
    serving = serving_now(elsewhere, journal)
    assert (serving.site, serving.run_id, serving.instance) == ("spare", run_id, "i-1")
    assert serving.brought == {"notes": {"into": "/there"}}


def test_without_a_service_there_is_nobody_to_bring_home(open_app: Any) -> None:
    app = open_app(service=None)
    with pytest.raises(ConfigError, match="no service"):
        serving_now(app, Journal(app.database, app.clock))


def test_the_final_point_has_the_source_as_it_is_where_it_was_brought_to(
    app: App, tmp_path: Path
) -> None:
    for place, text in (("notes", "at home\n"), ("away", "written away\n")):
        (tmp_path / place).mkdir(exist_ok=True)
        (tmp_path / place / "a.md").write_text(text)
    snapshot_id = back_up_brought(app)({"notes": {"into": str(tmp_path / "away")}})
    (found,) = [each for each in list_points(app.repository) if each.id == snapshot_id]
    content = app.repository.read_file(found.listed.snapshot, "/notes/a.md")
    assert content == b"written away\n"
    assert not found.point.sources["notes"].carried
    assert "failback" in found.listed.snapshot.tags


def test_a_source_that_could_not_be_cut_there_is_no_final_point(app: App, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir(exist_ok=True)
    (tmp_path / "notes" / "a.md").write_text("at home\n")
    back_up_brought(app)({"notes": {"into": str(tmp_path / "notes")}})
    with pytest.raises(SourceUnreadable, match="notes could not be cut"):
        back_up_brought(app)({"notes": {"into": str(tmp_path / "nowhere")}})


def test_what_cannot_be_backed_up_from_elsewhere_is_said(app: App) -> None:
    with pytest.raises(ConfigError, match="cannot be backed up"):
        back_up_brought(app)({"model": {"into": "/there"}})


def test_the_home_of_vectors_is_their_own_server(app: App) -> None:
    home = qdrant_home(app)
    assert home("vectors") == ("http://127.0.0.1:1", None)
    assert home("notes") is None
