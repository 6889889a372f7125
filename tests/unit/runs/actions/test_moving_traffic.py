"""hold, cutover, verify_public and observe on switches in memory: where traffic ever points."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from drkit.compute.interface import Endpoint
from drkit.coordination.hold import Phase, hold_key, note_from
from drkit.errors import DrkitError, VerificationFailed
from drkit.runs.actions import cutover as cutover_module
from drkit.runs.records import RunState
from drkit.traffic.interface import Setting, SwitchFailed

if TYPE_CHECKING:
    from conftest import Crash, World

PRIMARY = "http://203.0.113.10:8000"
TARGET = "http://192.0.2.1:8000"
MODEL = "Qwen3-4B"


@pytest.fixture(autouse=True)
def _real(world: World) -> None:
    world.real = ("hold", "acquire", "cutover", "observe", "commit", "fence")
    world.prober.set(TARGET, MODEL)


def _values(world: World) -> list[Setting]:
    return [switch.read() for switch in world.switches]


def test_traffic_goes_to_the_external_api_and_then_to_the_target(world: World) -> None:
    run = world.start()
    assert run.state is RunState.COMMITTED
    dns, gateway = world.switches
    assert [each.value for each in dns.history] == [PRIMARY, TARGET]
    assert gateway.history == [
        Setting(False, PRIMARY),
        Setting(True, PRIMARY),
        Setting(False, TARGET),
    ]
    role = world.arbiter.read_role("assistant")
    assert role is not None
    assert (role.epoch, role.site, role.endpoint_url) == (1, "coreweave", TARGET)
    assert (role.run_id, role.snapshots) == (run.id, ("s-1",))


def test_the_role_is_recorded_before_a_switch_moves(world: World) -> None:
    dns = world.switches[0]
    apply, seen = dns.apply, []

    def watched(plan, still):
        seen.append(world.arbiter.read_role("assistant"))
        apply(plan, still)

    dns.apply = watched  # type: ignore[method-assign]
    world.start()
    assert seen[0] is not None
    assert seen[0].site == "coreweave"


def test_the_next_failover_has_the_next_epoch(world: World) -> None:
    world.start()
    world.prober.set("http://192.0.2.2:8000", MODEL)
    run = world.start()
    assert (run.state, run.epoch) == (RunState.COMMITTED, 2)


def test_R8_nothing_points_at_the_target_when_verify_fails(world: World) -> None:
    world.marks.fail["verify"] = [VerificationFailed("wrong", hint="look")]
    world.start()
    for switch in world.switches:
        assert all(each.value != TARGET for each in switch.history)
    assert world.arbiter.read_role("assistant") is None


def test_R8_a_proof_older_than_ten_minutes_is_made_again_before_traffic_moves(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    proved = []

    def prove(_call, _context):
        proved.append([switch.read().value for switch in world.switches])
        return Endpoint("http", "192.0.2.1", 8000), ()

    monkeypatch.setattr(cutover_module, "prove_target", prove)

    def late(step: str, point: str) -> None:
        if (step, point) == ("cutover", "after-intent"):
            world.clock.advance(601)

    assert world.start(breakpoint=late).state is RunState.COMMITTED
    assert proved == [[PRIMARY, PRIMARY]]


def test_R8_a_fresh_proof_is_not_made_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def prove(_call, _context):
        raise AssertionError("proven a moment ago")

    monkeypatch.setattr(cutover_module, "prove_target", prove)
    assert world.start().state is RunState.COMMITTED


def test_R8_a_target_that_no_longer_proves_itself_gets_no_traffic(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def prove(_call, _context):
        raise VerificationFailed("it died since", hint="look")

    monkeypatch.setattr(cutover_module, "prove_target", prove)

    def late(step: str, point: str) -> None:
        if (step, point) == ("cutover", "after-intent"):
            world.clock.advance(601)

    assert world.start(breakpoint=late).state is RunState.ROLLED_BACK
    assert all(each.value != TARGET for switch in world.switches for each in switch.history)


def test_R8_rollback_after_cutover_leads_to_the_external_api_not_to_a_dead_primary(
    world: World,
) -> None:
    world.marks.fail["verify_public"] = [VerificationFailed("another model answers", hint="look")]
    run = world.start()
    assert run.state is RunState.ROLLED_BACK
    dns, gateway = world.switches
    assert gateway.read().held
    assert dns.read() == Setting(False, None)
    assert [each.value for each in dns.history] == [PRIMARY, TARGET, None]
    role = world.arbiter.read_role("assistant")
    assert role is not None
    assert (role.epoch, role.site) == (2, "lambda")
    assert world.compute.find({}) == []


def test_R8_rollback_leads_back_to_a_primary_that_answers_again(world: World) -> None:
    world.marks.fail["verify_public"] = [VerificationFailed("another model answers", hint="look")]
    world.prober.set(PRIMARY, MODEL)
    assert world.start().state is RunState.ROLLED_BACK
    assert _values(world) == [Setting(False, PRIMARY), Setting(False, PRIMARY)]


def test_R8_a_target_that_traffic_cannot_be_led_away_from_is_not_destroyed(world: World) -> None:
    world.marks.fail["verify_public"] = [VerificationFailed("another model answers", hint="look")]
    dns = world.switches[0]
    apply = dns.apply

    def refuses(plan, still):
        if plan.after.value is None:
            raise SwitchFailed("refused", hint="see its log")
        apply(plan, still)

    dns.apply = refuses  # type: ignore[method-assign]
    run = world.start()
    assert run.state is RunState.ROLLBACK_FAILED
    assert dns.read().value == TARGET
    assert [each.id for each in world.compute.find({})] == ["memory-1"]
    dns.apply = apply  # type: ignore[method-assign]
    assert world.resume(run.id).state is RunState.ROLLED_BACK
    assert world.compute.find({}) == []


def test_R8_a_primary_that_answers_as_another_model_is_not_led_back_to(world: World) -> None:
    world.marks.fail["verify"] = [VerificationFailed("wrong", hint="look")]
    world.prober.set(PRIMARY, "another-model")
    assert world.start().state is RunState.ROLLED_BACK
    assert world.switches[1].read().held


def test_users_who_stay_held_after_a_rollback_are_left_to_the_watch_and_not_forgotten(
    world: World,
) -> None:
    world.marks.fail["verify"] = [VerificationFailed("wrong", hint="look")]
    world.prober.set(PRIMARY, None)
    assert world.start().state is RunState.ROLLED_BACK
    gateway = world.switches[1]
    assert gateway.read().held
    note = note_from(world.arbiter.read_role(hold_key("assistant")))
    assert (note.phase, note.switches) == (Phase.HELD, (gateway.name,))
    assert note.on


def test_a_hold_that_others_put_on_stays_theirs_after_a_rollback(world: World) -> None:
    world.switches[1].set_by_another(Setting(True, PRIMARY))
    world.marks.fail["verify"] = [VerificationFailed("wrong", hint="look")]
    world.prober.set(PRIMARY, None)
    assert world.start().state is RunState.ROLLED_BACK
    assert world.switches[1].read().held
    assert world.arbiter.read_role(hold_key("assistant")) is None


def test_a_watch_that_notes_at_the_same_moment_stops_no_rollback(world: World) -> None:
    world.arbiter.acquire(hold_key("assistant"), "another/daemon", ttl_s=1e6)
    world.marks.fail["verify"] = [VerificationFailed("wrong", hint="look")]
    world.prober.set(PRIMARY, None)
    assert world.start().state is RunState.ROLLED_BACK


def test_a_hold_that_is_on_already_is_adopted(world: World) -> None:
    world.switches[1].set_by_another(Setting(True, PRIMARY))
    run = world.start()
    (done,) = [e for e in world.journal().entries(run.id) if (e.step, e.kind) == ("hold", "done")]
    assert done.payload["adopted"] is True
    assert run.state is RunState.COMMITTED


def test_a_switch_that_cannot_be_moved_rolls_back_and_names_no_target(world: World) -> None:
    dns, gateway = world.switches
    gateway.set_by_another(Setting(True, PRIMARY))
    apply = dns.apply

    def refuses(plan, still):
        if plan.after.value == TARGET:
            raise SwitchFailed("refused", hint="see its log")
        apply(plan, still)

    dns.apply = refuses  # type: ignore[method-assign]
    run = world.start()
    assert run.state is RunState.ROLLED_BACK
    assert gateway.read().held
    assert TARGET not in [each.value for each in gateway.history]


@pytest.mark.parametrize("point", ["after-intent", "after-effect", "after-record"])
def test_a_crash_in_cutover_moves_each_switch_once(
    world: World, crash: type[Crash], point: str
) -> None:
    with pytest.raises(crash):
        world.start(breakpoint=world.crash_at("cutover", point))
    assert world.resume(world.journal().run("latest").id).state is RunState.COMMITTED
    dns, gateway = world.switches
    assert [each.value for each in dns.history] == [PRIMARY, TARGET]
    assert len(gateway.history) == 3
    role = world.arbiter.read_role("assistant")
    assert role is not None
    assert role.epoch == 1


def test_R5_an_epoch_that_another_run_took_moves_no_traffic_any_more(world: World) -> None:
    from drkit.coordination.interface import RoleRecord

    def other_run(_call, _context):
        lease = world.arbiter.acquire("assistant", "here", ttl_s=60)
        record = RoleRecord("assistant", 5, "runpod", None, world.clock.now(), "another", ())
        world.arbiter.record_role(lease, record)
        world.prober.set(PRIMARY, MODEL)  # a rollback would lead there

    world.marks.during["verify"] = other_run
    run = world.start()
    assert run.state is RunState.ROLLED_BACK
    assert [len(switch.history) for switch in world.switches] == [1, 2]
    assert all(each.value != TARGET for switch in world.switches for each in switch.history)


def test_R11_a_drill_asks_only_its_own_role_and_never_the_primary(world: World) -> None:
    world.prober.set(PRIMARY, MODEL)
    run = world.start("drill")
    assert (run.state, run.outcome) == (RunState.DONE, "passed")
    assert world.arbiter.read_role("assistant") is None
    assert world.arbiter.read_role("assistant/drill") is not None
    assert PRIMARY not in [url for url, _ in world.prober.asked]


def test_a_target_that_dies_while_it_is_watched_is_rolled_back(world: World) -> None:
    world.prober.set(TARGET, MODEL, None)
    run = world.start()
    assert run.state is RunState.ROLLED_BACK
    assert world.switches[1].read().held


def test_a_runbook_that_asks_before_it_commits_waits_and_resume_commits(world: World) -> None:
    from drkit.runs.book.schema import Commit

    world.runbook = world.runbook.model_copy(update={"commit": Commit(policy="ask")})
    run = world.start()
    assert run.state is RunState.NEEDS_OPERATOR
    assert _values(world)[0].value == TARGET
    assert world.resume(run.id).state is RunState.COMMITTED


def test_a_commit_that_failed_for_another_reason_still_asks(world: World) -> None:
    from drkit.runs.book.schema import Commit

    world.runbook = world.runbook.model_copy(update={"commit": Commit(policy="ask")})

    def silent(step: str, point: str) -> None:
        if (step, point) == ("commit", "after-intent"):
            world.prober.set(TARGET, None)

    run = world.start(breakpoint=silent)
    assert run.state is RunState.NEEDS_OPERATOR
    world.prober.set(TARGET, MODEL)
    assert world.resume(run.id).state is RunState.NEEDS_OPERATOR
    assert world.resume(run.id).state is RunState.COMMITTED


def test_a_primary_with_state_is_not_passed_over_without_a_name(world: World) -> None:
    sncp = world.config.sources["sncp"].model_copy(update={"lives_on": "lambda"})
    sources = {**world.config.sources, "sncp": sncp}
    world.config = world.config.model_copy(update={"sources": sources})
    run = world.start()
    assert run.state is RunState.NEEDS_OPERATOR
    assert world.marks.count["restore"] == 0


def test_no_switch_that_can_carry_the_target_is_refused(world: World) -> None:
    for switch in world.switches:
        switch.refusal = lambda _to: "a random port"  # type: ignore[method-assign]
    run = world.start()
    assert run.state is RunState.ROLLED_BACK
    assert all(each.value != TARGET for switch in world.switches for each in switch.history)


def test_pointing_refuses_a_proof_that_has_expired(world: World) -> None:
    from datetime import timedelta

    from drkit.runs.actions.pointing import Proven, point_to

    now = world.clock.now()
    endpoint = Endpoint("http", "192.0.2.1", 8000)
    for age_s in (601, -1):
        proven = Proven("coreweave", endpoint, now - timedelta(seconds=age_s))
        with pytest.raises(DrkitError, match="proof"):
            point_to(world.switches[0], proven, None, world.context(world.plan()))  # type: ignore[arg-type]
    assert len(world.switches[0].history) == 1
