"""The way home: what comes home, what stays, what is given back, and what stops it."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, Any, get_args

import pytest
from failback_world import BOOK, EARLIER, FORMER, MODEL, PRIMARY, ROOT, TARGET, WRITTEN, Away, files

from drkit.compute.interface import InstanceState, LaunchSpec, Offer
from drkit.config.models import JobCommand
from drkit.coordination.interface import RoleRecord
from drkit.errors import ConfigError, GuardRefused, VerificationFailed
from drkit.runs.actions.catalog import ACTIONS
from drkit.runs.actions.interface import StepCall
from drkit.runs.book.plan import Serving, make_plan
from drkit.runs.records import EXTERNAL, RunState
from drkit.traffic.interface import Setting
from drkit.verify import model as model_module

if TYPE_CHECKING:
    pass


def test_what_was_written_at_the_target_comes_home_and_the_former_is_kept(away: Away) -> None:
    run = away.start()
    assert (run.state, run.outcome) == (RunState.COMMITTED, "committed")
    assert files(away.home) == WRITTEN
    (kept,) = away.beside
    assert ".before-" in kept.name
    assert files(kept) == FORMER
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
    assert files(away.home) == FORMER
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
    assert files(away.home) == FORMER


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


def test_without_anything_brought_only_traffic_comes_home(away: Away) -> None:
    (away.home / "mine.md").write_text("the primary lives\n")
    run = away.start(away.plan(brought=False), back_up=None)
    assert run.state is RunState.COMMITTED
    assert files(away.home) == FORMER | {"mine.md": "the primary lives\n"}
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
        "cli/runs/executing.py",
        "cli/runs/failback.py",
        "cli/runs/planning.py",
        "cli/runs/runbook.py",
    }
    for name in (
        "cli/runs/acting.py",
        "cli/watch/after_round.py",
        "cli/watch/daemon.py",
        "service",
    ):
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
