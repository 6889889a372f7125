"""acquire on a provider in memory: caps, records, adoption, and what is destroyed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from drkit.compute.interface import Fault, InstanceState, LaunchSpec, Offer, Still
from drkit.coordination.interface import RoleRecord
from drkit.errors import VerificationFailed
from drkit.runs.records import RunState, paid_resources
from drkit.traffic.interface import Setting

if TYPE_CHECKING:
    from conftest import Crash, World

SPEC = LaunchSpec("m", "i", (), 8000, "/ticket", {})


@pytest.fixture(autouse=True)
def _real_acquire(world: World) -> None:
    world.real = ("acquire",)
    world.clock.advance(1)


def _limits(world: World, **limits: float | None) -> None:
    target = world.config.targets["coreweave"]
    changed = target.model_copy(update={"limits": target.limits.model_copy(update=limits)})
    targets = {**world.config.targets, "coreweave": changed}
    world.config = world.config.model_copy(update={"targets": targets})


def _paid(world: World, run_id: str) -> list[tuple[str, str]]:
    return [(paid.state, paid.what) for paid in paid_resources(world.journal().entries(run_id))]


def _errors(world: World, run_id: str) -> list[str]:
    entries = world.journal().entries(run_id)
    return [str(e.payload["error"]) for e in entries if e.kind == "failed"]


def test_the_first_candidate_that_has_one_is_taken_and_tagged(world: World) -> None:
    world.compute.sold_out.add("L40")
    run = world.start()
    assert run.state is RunState.COMMITTED
    (instance,) = world.compute.find({"drkit-run": run.id})
    assert instance.offer.gpu == "A40"
    assert dict(instance.tags) == {
        "drkit-service": "assistant",
        "drkit-run": run.id,
        "drkit-step": "acquire",
        "drkit-attempt": "1.1",
    }
    assert _paid(world, run.id) == [
        ("CONFIRMED_GONE", "L40 in ORD1"),
        ("ADOPTED", "A40 in LAS1"),
    ]


def test_K4_the_machine_is_given_one_key_for_one_ticket_and_nothing_else(world: World) -> None:
    world.start()
    (spec,) = world.compute.created
    assert list(spec.environment) == ["DRKIT_TICKET_KEY"]
    journal = world.journal()
    text = "".join(str(entry) for entry in journal.entries(journal.run("latest").id))
    assert spec.environment["DRKIT_TICKET_KEY"] not in text


def test_a_provider_that_does_not_know_us_stops_at_once(world: World) -> None:
    world.compute.faults = [Fault.AUTH]
    run = world.start()
    assert run.state is RunState.ROLLED_BACK
    assert len(world.compute.created) == 0
    assert len(_errors(world, run.id)) == 1


def test_a_transient_fault_is_tried_again(world: World) -> None:
    world.compute.faults = [Fault.TRANSIENT]
    run = world.start()
    assert run.state is RunState.COMMITTED
    assert len(world.compute.created) == 1


def test_no_capacity_anywhere_is_said_and_rolled_back(world: World) -> None:
    world.compute.sold_out |= {"L40", "A40", "H100"}
    run = world.start()
    assert run.state is RunState.ROLLED_BACK
    assert "no GPU to give" in _errors(world, run.id)[-1]
    assert {state for state, _ in _paid(world, run.id)} == {"CONFIRMED_GONE"}


def test_R9_the_resource_is_recorded_before_it_is_requested(world: World) -> None:
    before = []
    create = world.compute.create

    def watched(offer: Offer, spec: LaunchSpec, tags: dict[str, str], still: Still):
        before.extend(_paid(world, tags["drkit-run"]))
        return create(offer, spec, tags, still)

    world.compute.create = watched  # type: ignore[method-assign]
    run = world.start()
    assert before == [("REQUESTED", "L40 in ORD1")]
    assert _paid(world, run.id) == [("ADOPTED", "L40 in ORD1")]


def test_R9_a_create_without_an_answer_is_found_by_its_tag_and_adopted(world: World) -> None:
    world.compute.lose_answers = 1
    world.compute.listing_lag = 3
    run = world.start()
    assert run.state is RunState.COMMITTED
    assert len(world.compute.created) == 1
    assert _paid(world, run.id) == [("ADOPTED", "L40 in ORD1")]


@pytest.mark.parametrize("point", ["after-intent", "after-effect", "after-record"])
def test_R9_one_instance_after_a_crash(world: World, crash: type[Crash], point: str) -> None:
    world.compute.listing_lag = 2
    with pytest.raises(crash):
        world.start(breakpoint=world.crash_at("acquire", point))
    run = world.resume(world.journal().run("latest").id)
    assert run.state is RunState.COMMITTED
    assert len(world.compute.created) == 1
    assert _paid(world, run.id) == [("ADOPTED", "L40 in ORD1")]


def test_R9_a_crash_in_the_middle_of_the_request_is_looked_for_before_another_is_sent(
    world: World, crash: type[Crash]
) -> None:
    create = world.compute.create

    def dies_after(offer: Offer, spec: LaunchSpec, tags: dict[str, str], still: Still):
        create(offer, spec, tags, still)
        world.compute.create = create  # type: ignore[method-assign]
        raise crash("the answer never came")

    world.compute.create = dies_after  # type: ignore[method-assign]
    world.compute.listing_lag = 3
    with pytest.raises(crash):
        world.start()
    run = world.resume(world.journal().run("latest").id)
    assert run.state is RunState.COMMITTED
    assert len(world.compute.created) == 1


def test_R9_an_instance_that_never_started_is_removed_and_another_is_made(
    world: World, crash: type[Crash]
) -> None:
    with pytest.raises(crash):
        world.start(breakpoint=world.crash_at("acquire", "after-effect"))
    world.compute.set_state("memory-1", InstanceState.FAILED)
    run = world.resume(world.journal().run("latest").id)
    assert run.state is RunState.COMMITTED
    assert world.compute.get("memory-1").state is InstanceState.GONE
    assert [each.id for each in world.compute.find({})] == ["memory-2"]


def test_R9_rollback_destroys_the_instance_and_confirms_it(world: World) -> None:
    world.marks.fail["verify"] = [VerificationFailed("wrong", hint="look")]
    run = world.start()
    assert run.state is RunState.ROLLED_BACK
    assert world.compute.find({}) == []
    assert _paid(world, run.id) == [("CONFIRMED_GONE", "L40 in ORD1")]


def test_R7_an_instance_that_is_not_this_runs_is_never_destroyed(world: World) -> None:
    world.compute.create(Offer("L40", None, 1.0), SPEC, {"drkit-run": "another"})
    world.compute.create(Offer("L40", None, 1.0), SPEC, {})
    world.marks.fail["verify"] = [VerificationFailed("wrong", hint="look")]
    run = world.start()
    assert run.state is RunState.ROLLED_BACK
    assert [each.id for each in world.compute.find({})] == ["memory-1", "memory-2"]


def test_R7_destroying_checks_the_tags_itself(world: World) -> None:
    stranger = world.compute.create(Offer("L40", None, 1.0), SPEC, {"drkit-run": "another"})
    find = world.compute.find
    world.compute.find = lambda tags: [stranger] if tags else find(tags)  # type: ignore[method-assign]
    world.marks.fail["verify"] = [VerificationFailed("wrong", hint="look")]
    world.marks.during["verify"] = lambda *_: None
    run = world.start()
    assert not run.state.ended
    assert world.compute.get(stranger.id).state is InstanceState.RUNNING


def test_R10_what_is_over_the_price_per_hour_is_not_requested(world: World) -> None:
    _limits(world, usd_per_hour=1.0)
    run = world.start()
    assert run.state is RunState.ROLLED_BACK
    assert world.compute.created == []
    assert _paid(world, run.id) == []
    assert "over the cap" in _errors(world, run.id)[-1]


def test_R10_what_could_cost_more_than_the_run_may_is_not_requested(world: World) -> None:
    _limits(world, usd_per_run=5.0)  # 4 h at $1.50
    run = world.start()
    assert world.compute.created == []
    assert "$6.00 for 4 h" in _errors(world, run.id)[-1]


def test_R10_a_cheaper_candidate_is_taken_when_the_first_is_over_the_cap(world: World) -> None:
    world.compute.usd_per_hour = {"L40": 1.5, "A40": 0.9}
    _limits(world, usd_per_hour=1.0)
    run = world.start()
    assert run.state is RunState.COMMITTED
    assert [each.offer.gpu for each in world.compute.find({})] == ["A40"]


def test_R10_no_drill_buys_anything_until_its_cap_was_set(world: World) -> None:
    _limits(world, usd_per_run=None)
    run = world.start("drill")
    assert (run.state, run.outcome) == (RunState.DONE, "failed")
    assert world.compute.created == []
    assert "usd_per_run" in str(
        [e.payload.get("hint") for e in world.journal().entries(run.id) if e.kind == "failed"]
    )


def test_R11_a_drill_leaves_nothing_that_costs_money(world: World) -> None:
    run = world.start("drill")
    assert (run.state, run.outcome) == (RunState.DONE, "passed")
    assert world.compute.find({}) == []
    notes = [e.payload for e in world.journal().entries(run.id) if "left_over" in e.payload]
    assert notes[-1]["left_over"] == []
    assert run.ended_at is not None
    (paid,) = paid_resources(world.journal().entries(run.id))
    assert paid.usd_until(run.ended_at) == pytest.approx(
        1.5 * (paid.gone_at - paid.requested_at).total_seconds() / 3600  # type: ignore[operator]
    )


def test_R11_a_teardown_that_leaves_an_instance_does_not_end_the_drill(world: World) -> None:
    destroy = world.compute.destroy
    world.compute.destroy = lambda *_asked: None  # type: ignore[method-assign]
    run = world.start("drill")
    assert (run.state, run.ended_at) == (RunState.NEEDS_OPERATOR, None)
    world.compute.destroy = destroy  # type: ignore[method-assign]
    assert world.resume(run.id).state is RunState.DONE
    assert world.compute.find({}) == []


def test_R9_an_instance_that_is_not_listed_yet_is_destroyed_by_its_id(world: World) -> None:
    world.compute.listing_lag = 1000
    world.marks.fail["verify"] = [VerificationFailed("wrong", hint="look")]
    run = world.start()
    assert run.state is RunState.ROLLED_BACK
    assert _paid(world, run.id) == [("CONFIRMED_GONE", "L40 in ORD1")]
    assert world.compute.get("memory-1").state is InstanceState.GONE


def _role_of_another_run(world: World, endpoint_url: str | None) -> None:
    lease = world.arbiter.acquire("assistant", "here", ttl_s=30)
    record = RoleRecord("assistant", 7, "runpod", endpoint_url, world.clock.now(), "another")
    world.arbiter.record_role(lease, record)
    world.arbiter.release(lease)


def test_R9_a_run_that_another_one_superseded_still_gives_its_machine_back(
    world: World, crash: type[Crash]
) -> None:
    with pytest.raises(crash):
        world.start(breakpoint=world.crash_at("cutover", "after-intent"))
    before = [switch.read() for switch in world.switches]
    _role_of_another_run(world, "http://198.51.100.1:8000")
    run = world.resume(world.journal().run("latest").id)
    assert run.state is RunState.ROLLED_BACK
    assert [switch.read() for switch in world.switches] == before
    assert _paid(world, run.id) == [("CONFIRMED_GONE", "L40 in ORD1")]
    assert world.compute.get("memory-1").state is InstanceState.GONE


def test_R8_a_machine_that_serves_by_another_runs_record_is_kept(
    world: World, crash: type[Crash]
) -> None:
    with pytest.raises(crash):
        world.start(breakpoint=world.crash_at("cutover", "after-intent"))
    _role_of_another_run(world, "http://192.0.2.1:8000")
    run = world.resume(world.journal().run("latest").id)
    assert run.state is RunState.ROLLBACK_FAILED
    assert world.compute.get("memory-1").state is InstanceState.RUNNING


def test_R8_a_machine_that_a_name_still_leads_to_is_kept_until_it_leads_elsewhere(
    world: World, crash: type[Crash]
) -> None:
    """The other run left the name as it was, and this one may not move it any more."""
    with pytest.raises(crash):
        world.start(breakpoint=world.crash_at("cutover", "after-intent"))
    dns, before = world.switches[0], world.switches[0].read()
    dns.set_by_another(Setting(False, "http://192.0.2.1:8000"))
    _role_of_another_run(world, None)
    run = world.resume(world.journal().run("latest").id)
    assert run.state is RunState.ROLLBACK_FAILED
    assert world.compute.get("memory-1").state is InstanceState.RUNNING
    said = [e.payload.get("undo_failed") for e in world.journal().entries(run.id)]
    assert f"{dns.record} still leads to memory-1, which is kept" in said
    dns.set_by_another(before)
    assert world.resume(run.id).state is RunState.ROLLED_BACK
    assert world.compute.get("memory-1").state is InstanceState.GONE
