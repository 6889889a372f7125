"""The way home: what comes home, what stays, what is given back, and what stops it."""

from __future__ import annotations

import ast
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pytest

from drkit.compute.interface import InstanceState, LaunchSpec, Offer
from drkit.config.models import JobCommand
from drkit.config.sources import TreeSource
from drkit.coordination.interface import RoleRecord
from drkit.errors import ConfigError, GuardRefused, VerificationFailed
from drkit.operations.backup import Due, back_up
from drkit.repository.keys import ScryptCost
from drkit.repository.repository import Repository, init_repository, open_repository
from drkit.runs.actions.catalog import ACTIONS
from drkit.runs.actions.interface import StepCall
from drkit.runs.engine import execute
from drkit.runs.plan import Plan, Serving, make_plan
from drkit.runs.records import EXTERNAL, RunRecord, RunState
from drkit.runs.schema import load_runbook
from drkit.sources.interface import Cut
from drkit.stores.folder import FolderStore
from drkit.traffic.interface import Setting
from drkit.verify import model as model_module

if TYPE_CHECKING:
    from conftest import Crash, World

ROOT = Path(__file__).parents[3]
BOOK = load_runbook(ROOT / "runbooks" / "failback.yaml")
PRIMARY, TARGET, MODEL = "http://203.0.113.10:8000", "http://192.0.2.1:8000", "Qwen3-4B"
EARLIER = "failover-20260101t000000-abcdef"
POINTS = ("before-intent", "after-intent", "after-effect", "after-record")


@dataclass
class Tree:
    """A source in a folder, wherever it is now."""

    root: Path
    world: World
    name: str = "sncp"
    kind: str = "tree"

    def cut(self, _spool: Path, _emit: object) -> Cut:
        return Cut(self.root, self.world.clock.now())


class Away:
    """A world that failed over to coreweave, where `sncp` was brought and written to since."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.home, self.away = world.tmp_path / "home" / "sncp", world.tmp_path / "away" / "sncp"
        self.stores = (FolderStore("gcs", world.tmp_path / "stores" / "gcs"),)
        cost = ScryptCost(1024, 8, 1)
        init_repository(self.stores, "pw", clock=world.clock, hostname="h", cost=cost)
        for place in (self.home, self.away):
            place.mkdir(parents=True)
            (place / "a.md").write_text("as it was\n")
            (place / "b.md").write_text("as it was too\n")
        self._same_times()
        source = TreeSource(kind="tree", path=str(self.home), lives_on="vm", rpo_min=60)
        world.config = world.config.model_copy(update={"sources": {"sncp": source}})
        world.runbook = BOOK
        world.real = tuple(step.action for step in BOOK.steps)
        self.snapshot = self.back_up({"sncp": {"into": str(self.home)}})
        self._serve_at_target()
        (self.away / "a.md").write_text("written at the target\n")
        (self.away / "new.md").write_text("new at the target\n")
        world.prober.set(PRIMARY, MODEL)
        world.prober.set(TARGET, MODEL)
        world.clock.advance(60)

    def _same_times(self) -> None:
        for place in (self.home, self.away):
            for path in (*place.iterdir(), place):
                os.utime(path, ns=(10**18, 10**18))

    def _serve_at_target(self) -> None:
        world = self.world
        tags = {"drkit-service": "assistant", "drkit-run": EARLIER, "drkit-step": "acquire"}
        spec = LaunchSpec(MODEL, "image", (), 8000, "", {})
        self.machine = world.compute.create(Offer("L40", "ORD1", 1.5), spec, tags)
        lease = world.arbiter.acquire("assistant", "here", ttl_s=60)
        role = RoleRecord(
            "assistant", 3, "coreweave", TARGET, world.clock.now(), EARLIER, (self.snapshot,)
        )
        world.arbiter.record_role(lease, role)
        world.arbiter.release(lease)
        for switch in world.switches:
            switch.set_by_another(Setting(False, TARGET))

    def open(self) -> Repository:
        world = self.world
        return open_repository(
            self.stores, "pw", clock=world.clock, emit=world.events.append, hostname="h"
        )

    def back_up(self, brought: Mapping[str, Mapping[str, Any]]) -> str:
        world = self.world
        report = back_up(
            self.open(),
            Due({"sncp": Tree(Path(brought["sncp"]["into"]), world)}, {}, ("sncp",), ()),
            service="assistant",
            arbiter=world.arbiter,
            stores=self.stores,
            min_copies=1,
            own_files={},
            record_golden=None,
            work_dir=world.tmp_path / "backup",
            clock=world.clock,
            emit=world.events.append,
        )
        return report.write.snapshot_id

    def plan(self, *, brought: bool = True, site: str = "coreweave") -> Plan:
        serving = Serving(site)
        if site != EXTERNAL:
            places = {"sncp": {"into": str(self.away)}} if brought else {}
            serving = Serving(site, TARGET, EARLIER, self.machine.id, self.snapshot, places)
        return make_plan(
            BOOK,
            config=self.world.config,
            kind="failback",
            target=site,
            actions=ACTIONS,
            serving=serving,
        )

    def changes(self, **changes: Any) -> dict[str, Any]:
        repository = self.open()
        return {
            "repository": lambda: repository,
            "stores": self.stores,
            "back_up": self.back_up,
            "gateway_url": "http://127.0.0.1:8080",
            "settle_s": 1.0,
            **changes,
        }

    def start(self, plan: Plan | None = None, **changes: Any) -> RunRecord:
        journal, plan = self.world.journal(), plan or self.plan()
        run = journal.open_run(plan, sandbox=False)
        context = self.world.context(plan, **self.changes(**changes))
        return execute(journal, run.id, self.world.fakes, context)

    def resume(self, run: RunRecord) -> RunRecord:
        return self.world.resume(run.id, **self.changes())

    def output(self, run: RunRecord, step: str) -> Mapping[str, Any]:
        (entry,) = [
            e for e in self.world.journal().entries(run.id) if (e.step, e.kind) == (step, "done")
        ]
        return entry.payload["output"]  # type: ignore[return-value]

    @property
    def beside(self) -> list[Path]:
        return [path for path in self.home.parent.iterdir() if path != self.home]

    @property
    def role(self) -> RoleRecord:
        role = self.world.arbiter.read_role("assistant")
        assert role is not None
        return role


@pytest.fixture
def away(world: World, monkeypatch: pytest.MonkeyPatch) -> Away:
    monkeypatch.setattr(model_module, "ask_gateway", lambda *_: MODEL)
    return Away(world)


def _files(place: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in place.iterdir()}


WRITTEN = {
    "a.md": "written at the target\n",
    "b.md": "as it was too\n",
    "new.md": "new at the target\n",
}
FORMER = {"a.md": "as it was\n", "b.md": "as it was too\n"}


def test_what_was_written_at_the_target_comes_home_and_the_former_is_kept(away: Away) -> None:
    run = away.start()
    assert (run.state, run.outcome) == (RunState.COMMITTED, "committed")
    assert _files(away.home) == WRITTEN
    (kept,) = away.beside
    assert ".before-" in kept.name
    assert _files(kept) == FORMER
    proofs = [
        proof
        for entry in away.world.journal().entries(run.id)
        if (entry.step, entry.kind) == ("verify", "done")
        for proof in entry.payload["proofs"]  # type: ignore[union-attr]
    ]
    assert {"answers", "tree digests"} == {proof["check"] for proof in proofs}


def test_traffic_goes_over_the_external_api_home_with_a_higher_epoch(away: Away) -> None:
    run = away.start()
    dns, gateway = away.world.switches
    assert [each.value for each in dns.history] == [PRIMARY, TARGET, PRIMARY]
    assert gateway.history[1:] == [
        Setting(False, TARGET),
        Setting(True, TARGET),
        Setting(False, PRIMARY),
    ]
    assert (away.role.site, away.role.endpoint_url, away.role.epoch) == ("lambda", PRIMARY, 4)
    assert away.output(run, "point")["snapshot_id"] in away.role.snapshots


def test_R9_the_machine_is_given_back_after_the_commit_and_confirmed_gone(away: Away) -> None:
    run = away.start()
    order = [e.step for e in away.world.journal().entries(run.id) if e.kind == "done"]
    assert order.index("release") == order.index("commit") + 1 == len(order) - 1
    assert away.world.compute.get(away.machine.id).state is InstanceState.GONE
    noted = [
        e.payload["paid"]
        for e in away.world.journal().entries(run.id)
        if e.kind == "note" and "paid" in e.payload
    ]
    assert [each["state"] for each in noted] == ["CONFIRMED_GONE"]  # type: ignore[index,call-overload]


def test_R7_machines_of_others_are_left_alone(away: Away) -> None:
    spec = LaunchSpec(MODEL, "image", (), 8000, "", {})
    others = [
        away.world.compute.create(Offer("L40", None, 1.0), spec, tags).id
        for tags in ({}, {"drkit-run": "another"}, {"drkit-service": "assistant"})
    ]
    assert away.start().state is RunState.COMMITTED
    assert [each.id for each in away.world.compute.find({})] == others


def test_R7_a_machine_with_the_runs_tag_that_serves_somebody_else_is_refused(away: Away) -> None:
    spec = LaunchSpec(MODEL, "image", (), 8000, "", {})
    tags = {"drkit-run": EARLIER, "drkit-service": "another"}
    other = away.world.compute.create(Offer("L40", None, 1.0), spec, tags)
    run = away.start()
    assert run.state is RunState.NEEDS_OPERATOR
    assert other.id in [each.id for each in away.world.compute.find({})]


@pytest.mark.parametrize("site", ["coreweave", EXTERNAL, "lambda"])
def test_R7_a_machine_is_not_given_back_unless_this_run_recorded_that_home_serves(
    away: Away, site: str
) -> None:
    """Also not when another run did, which may have gone there and back."""
    lease = away.world.arbiter.acquire("assistant", "here", ttl_s=60)
    role = RoleRecord("assistant", 9, site, None, away.world.clock.now(), "another", ())
    away.world.arbiter.record_role(lease, role)
    away.world.arbiter.release(lease)
    for switch in away.world.switches:
        switch.set_by_another(Setting(False, PRIMARY))
    arguments = {"made_by": EARLIER}
    call = StepCall("this-run", "release", 1, arguments, {}, None)  # type: ignore[arg-type]
    with pytest.raises(GuardRefused, match="serves by the role record"):
        ACTIONS["release"].run(call, away.world.context(away.plan()))
    assert away.world.compute.get(away.machine.id).state is InstanceState.RUNNING


def test_R8_a_machine_that_traffic_was_led_back_to_is_kept(away: Away) -> None:
    def somebody_moves_it(step: str, point: str) -> None:
        if (step, point) == ("release", "before-intent"):
            away.world.switches[0].set_by_another(Setting(False, TARGET))

    run = away.start(breakpoint=somebody_moves_it)
    assert run.state is RunState.NEEDS_OPERATOR
    assert away.world.compute.get(away.machine.id).state is InstanceState.RUNNING
    away.world.switches[0].set_by_another(Setting(False, PRIMARY))
    assert away.resume(run).state is RunState.COMMITTED
    assert away.world.compute.find({}) == []


def test_nobody_is_held_while_the_primary_does_not_answer_as_itself(away: Away) -> None:
    for answer in (None, "another-model"):
        away.world.prober.set(PRIMARY, answer)
        run = away.start()
        assert run.state is RunState.ROLLED_BACK
        assert not any(each.held for each in away.world.switches[1].history)
    assert away.role.site == "coreweave"


def test_R12_what_does_not_prove_itself_at_home_is_taken_back_whole(
    away: Away, monkeypatch: pytest.MonkeyPatch
) -> None:
    from drkit.runs.actions import verify

    def fails(_call: object, _context: object) -> None:
        raise VerificationFailed("not the real thing", hint="look")

    monkeypatch.setattr(verify, "prove_target", fails)
    run = away.start()
    assert run.state is RunState.ROLLED_BACK
    assert _files(away.home) == FORMER
    assert away.beside == []
    assert [switch.read() for switch in away.world.switches] == [Setting(False, TARGET)] * 2
    assert away.role.site == "coreweave"
    assert away.world.compute.get(away.machine.id).state is InstanceState.RUNNING
    undone = [e.step for e in away.world.journal().entries(run.id) if e.kind == "undone"]
    assert undone == ["swap", "restore", "hold"]


@pytest.mark.parametrize("target_answers", [True, False])
def test_R8_a_rollback_after_cutover_leads_to_the_target_if_it_verifies_else_to_the_api(
    away: Away, monkeypatch: pytest.MonkeyPatch, target_answers: bool
) -> None:
    monkeypatch.setattr(model_module, "ask_gateway", lambda *_: "another-model")
    away.world.prober.set(TARGET, MODEL if target_answers else None)
    assert away.start().state is RunState.ROLLED_BACK
    dns, gateway = away.world.switches
    expected = Setting(False, TARGET) if target_answers else Setting(True, PRIMARY)
    assert gateway.read() == expected
    assert dns.read() == Setting(False, TARGET if target_answers else None)
    assert (away.role.site, away.role.epoch) == ("coreweave", 5)
    assert _files(away.home) == FORMER


def test_R8_a_proof_of_home_that_expired_is_made_again(
    away: Away, monkeypatch: pytest.MonkeyPatch
) -> None:
    from drkit.runs.actions import cutover

    proved: list[str | None] = []
    prove = cutover.prove_target

    def counted(call: Any, context: Any) -> Any:
        proved.append(away.world.switches[0].read().value)
        return prove(call, context)

    monkeypatch.setattr(cutover, "prove_target", counted)

    def late(step: str, point: str) -> None:
        if (step, point) == ("cutover", "after-intent"):
            away.world.clock.advance(601)

    assert away.start(breakpoint=late).state is RunState.COMMITTED
    assert proved == [TARGET]


def test_what_is_still_written_at_the_target_stops_it_before_the_final_point(away: Away) -> None:
    pause = away.world.clock.sleep

    def writes(seconds: float) -> None:
        pause(seconds)
        (away.away / "late.md").write_text(f"{away.world.clock.elapsed_s()}")

    away.world.clock.sleep = writes  # type: ignore[method-assign]
    run = away.start()
    assert run.state is RunState.NEEDS_OPERATOR
    assert not any(e.step == "point" for e in away.world.journal().entries(run.id))
    assert away.world.switches[1].read().held
    away.world.clock.sleep = pause  # type: ignore[method-assign]
    assert away.resume(run).state is RunState.COMMITTED
    assert "late.md" in _files(away.home)


def test_R12_what_was_written_away_after_the_final_point_is_asked_about_and_not_lost_unseen(
    away: Away,
) -> None:
    def late(step: str, point: str) -> None:
        if (step, point) == ("swap", "before-intent"):
            (away.away / "late.md").write_text("too late\n")

    run = away.start(breakpoint=late)
    assert run.state is RunState.NEEDS_OPERATOR
    assert _files(away.home) == FORMER
    assert away.resume(run).state is RunState.COMMITTED
    assert _files(away.home) == WRITTEN
    assert (away.away / "late.md").exists()


def test_a_gateway_that_lets_users_through_is_no_fence(away: Away) -> None:
    def released(step: str, point: str) -> None:
        if (step, point) == ("fence", "after-intent"):
            away.world.switches[1].set_by_another(Setting(False, TARGET))

    run = away.start(breakpoint=released)
    assert run.state is RunState.NEEDS_OPERATOR
    assert not any(e.step == "point" for e in away.world.journal().entries(run.id))


def test_Q4_what_home_has_alone_is_shown_first_kept_and_not_merged(away: Away) -> None:
    (away.home / "stranded.md").write_text("written by a primary that was fenced\n")
    run = away.start()
    assert run.state is RunState.NEEDS_OPERATOR
    (asked,) = [
        e
        for e in away.world.journal().entries(run.id)
        if (e.step, e.kind) == ("divergence", "failed")
    ]
    assert "stranded.md" in str(asked.payload["error"])
    assert _files(away.home) == FORMER | {"stranded.md": "written by a primary that was fenced\n"}
    assert away.resume(run).state is RunState.COMMITTED
    assert _files(away.home) == WRITTEN
    (kept,) = away.beside
    assert "stranded.md" in _files(kept)
    written = away.output(run, "divergence")["written"]["sncp"]
    assert set(written["named"]) == {"M /a.md", "+ /new.md"}


@pytest.mark.parametrize("step", ["hold", "point", "restore", "swap", "cutover", "release"])
@pytest.mark.parametrize("point", POINTS)
def test_R5_killed_anywhere_it_is_resumed_to_one_home(
    away: Away, crash: type[Crash], step: str, point: str
) -> None:
    with pytest.raises(crash):
        away.start(breakpoint=away.world.crash_at(step, point))
    run = away.resume(away.world.journal().run("latest"))
    assert run.state is RunState.COMMITTED
    assert _files(away.home) == WRITTEN
    assert len(away.beside) == 1
    assert away.world.compute.find({}) == []
    assert [each.value for each in away.world.switches[0].history] == [PRIMARY, TARGET, PRIMARY]
    assert away.role.epoch == 4


@pytest.mark.parametrize("renames", [0, 1, 2])
def test_R5_a_swap_that_died_between_two_renames_is_finished_or_taken_back(
    away: Away, monkeypatch: pytest.MonkeyPatch, crash: type[Crash], renames: int
) -> None:
    from drkit.runs.actions import swap_home

    rename, done = swap_home._rename, []

    def dies(old: Path, new: Path) -> None:
        if len(done) == renames:
            raise crash("in the middle")
        done.append(old)
        rename(old, new)

    monkeypatch.setattr(swap_home, "_rename", dies)
    if renames < 2:
        with pytest.raises(crash):
            away.start()
        monkeypatch.setattr(swap_home, "_rename", rename)
        run = away.resume(away.world.journal().run("latest"))
    else:
        run = away.start()
    assert run.state is RunState.COMMITTED
    assert _files(away.home) == WRITTEN
    (kept,) = away.beside
    assert _files(kept) == FORMER


def test_R7_somebody_who_made_a_new_folder_in_the_middle_of_a_swap_keeps_it(
    away: Away, monkeypatch: pytest.MonkeyPatch, crash: type[Crash]
) -> None:
    from drkit.runs.actions import swap_home

    rename = swap_home._rename

    def dies(old: Path, new: Path) -> None:
        rename(old, new)
        raise crash("after the first")

    monkeypatch.setattr(swap_home, "_rename", dies)
    with pytest.raises(crash):
        away.start()
    monkeypatch.setattr(swap_home, "_rename", rename)
    away.home.mkdir()
    (away.home / "mine.md").write_text("made meanwhile\n")
    run = away.resume(away.world.journal().run("latest"))
    assert run.state is not RunState.COMMITTED
    said = [str(e.payload.get("error")) for e in away.world.journal().entries(run.id)]
    assert any("somebody made it meanwhile" in text for text in said)
    everything = [path.name for place in (away.home, *away.beside) for path in place.iterdir()]
    assert "mine.md" in everything
    assert {"a.md", "b.md"} <= set(everything)


def test_a_folder_at_the_target_that_vanished_does_not_come_home_empty(away: Away) -> None:
    shutil.rmtree(away.away)
    run = away.start()
    assert run.state is RunState.ROLLED_BACK
    assert _files(away.home) == FORMER
    assert not any(each.held for each in away.world.switches[1].history)


def test_without_anything_brought_only_traffic_comes_home(away: Away) -> None:
    (away.home / "mine.md").write_text("the primary lives\n")
    run = away.start(away.plan(brought=False), back_up=None)
    assert run.state is RunState.COMMITTED
    assert _files(away.home) == FORMER | {"mine.md": "the primary lives\n"}
    assert away.beside == []
    assert away.world.compute.find({}) == []


def test_from_the_external_api_home_nothing_is_given_back(away: Away) -> None:
    lease = away.world.arbiter.acquire("assistant", "here", ttl_s=60)
    role = RoleRecord("assistant", 7, EXTERNAL, None, away.world.clock.now(), "held", ())
    away.world.arbiter.record_role(lease, role)
    away.world.arbiter.release(lease)
    away.world.switches[1].set_by_another(Setting(True, PRIMARY))
    run = away.start(away.plan(site=EXTERNAL))
    assert run.state is RunState.COMMITTED
    assert away.world.switches[1].read() == Setting(False, PRIMARY)
    assert (away.role.site, away.role.epoch) == ("lambda", 8)
    assert away.world.compute.get(away.machine.id).state is InstanceState.RUNNING


def test_R2_a_failback_of_who_no_longer_serves_is_refused(away: Away) -> None:
    lease = away.world.arbiter.acquire("assistant", "here", ttl_s=60)
    role = RoleRecord("assistant", 7, "runpod", None, away.world.clock.now(), "later", ())
    away.world.arbiter.record_role(lease, role)
    away.world.arbiter.release(lease)
    assert away.start().state is RunState.ROLLED_BACK
    assert not any(each.held for each in away.world.switches[1].history)


def test_R12_a_failback_needs_to_know_who_serves_and_is_no_drill(away: Away) -> None:
    for kind, serving, said in (
        ("failback", None, "who serves now"),
        ("drill", Serving("coreweave"), "is not executed as a drill"),
    ):
        with pytest.raises(ConfigError, match=said):
            make_plan(
                BOOK,
                config=away.world.config,
                kind=kind,  # type: ignore[arg-type]
                target="coreweave",
                actions=ACTIONS,
                serving=serving,
            )


def test_R12_nothing_but_a_typed_command_starts_a_failback() -> None:
    """No schedule can name it, and only the command line plans one."""
    assert not {"failback", "runbook", "failover"} & set(get_args(JobCommand))
    planning = {
        path.relative_to(ROOT / "drkit").as_posix()
        for path in (ROOT / "drkit").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom | ast.Import)
        for each in node.names
        if each.name in ("serving_now", "plan_named", "execute_named")
    }
    assert planning == {
        "cli/executing.py",
        "cli/failback.py",
        "cli/planning.py",
        "cli/runbook.py",
    }
    for name in ("cli/acting.py", "cli/after_round.py", "cli/daemon.py", "service"):
        place = ROOT / "drkit" / name
        files = place.rglob("*.py") if place.is_dir() else [place]
        for file in files:
            words = set(re.findall(r'"([a-z-]+)"', file.read_text()))
            assert not words & {"failback", "runbook"}, file


def test_R7_no_action_can_reach_the_primarys_machine(away: Away) -> None:
    """release asks the compute of the place that is left, which the primary is none of."""
    plan = away.plan()
    assert plan.target != plan.primary
    with pytest.raises(ConfigError, match="is no target"):
        make_plan(
            BOOK,
            config=away.world.config,
            kind="failback",
            target="lambda",
            actions=ACTIONS,
            serving=Serving("lambda"),
        )
