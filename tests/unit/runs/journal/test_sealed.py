"""What a store says of a run is not believed: authenticated, bounded, typed, and whole."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from drkit.errors import DamagedData, PlaceError, WrongKey
from drkit.runs.journal.sealed import MOST_BYTES, sealed_run, sealed_runs
from drkit.runs.records import RunState, paid_resources
from drkit.stores.memory import MemoryStore

if TYPE_CHECKING:
    from conftest import World


def stores_of(world: World, *others: MemoryStore) -> list[MemoryStore]:
    store = MemoryStore()
    store.objects = dict(world.copied)
    return [store, *others]


def test_a_run_reads_back_as_it_was_written(world: World) -> None:
    run = world.start()
    found = sealed_run(stores_of(world), bytes, run.id)
    assert found is not None
    assert list(found.entries) == world.journal().entries(run.id)
    assert found.plan == world.journal().plan(run.id)
    assert (found.run.state, found.run.outcome) == (run.state, run.outcome)
    assert [each.id for each in sealed_runs(stores_of(world), bytes)] == [run.id]


def test_objects_that_are_spread_over_stores_are_put_together(world: World) -> None:
    run = world.start()
    one, two = MemoryStore("one"), MemoryStore("two")
    for number, (name, content) in enumerate(sorted(world.copied.items())):
        (one, two)[number % 2].objects[name] = content
    found = sealed_run([one, two], bytes, run.id)
    assert found is not None
    assert list(found.entries) == world.journal().entries(run.id)
    two.down = True
    with pytest.raises(DamagedData, match="do not have all entries"):
        sealed_run([one, two], bytes, run.id)


def test_a_store_that_is_away_is_passed_over(world: World) -> None:
    run = world.start()
    away = MemoryStore("away")
    away.down = True
    assert sealed_run([away, *stores_of(world)], bytes, run.id) is not None
    assert [each.id for each in sealed_runs([away, *stores_of(world)], bytes)] == [run.id]


def test_what_the_key_did_not_seal_is_not_read(world: World) -> None:
    run = world.start()

    def refuses(_data: bytes) -> bytes:
        raise WrongKey("not sealed by this key", hint="x")

    assert sealed_runs(stores_of(world), refuses) == []
    with pytest.raises(WrongKey):
        sealed_run(stores_of(world), refuses, run.id)


@pytest.mark.parametrize(
    "damage",
    [
        lambda value: value.update(drkit_journal=3),
        lambda value: value["run"].update(state="FINE"),
        lambda value: value["run"].update(plan=value["run"]["plan"].replace("coreweave", "vast")),
        lambda value: value["run"].update(id="failover-20260101t000000-ffffff"),
        lambda value: value["run"].update(generation=7),
        lambda value: value["run"].update(created_at="2026-01-01T00:00:00"),
        lambda value: value["entries"][0].update(kind="promise"),
        lambda value: value["entries"][0].update(payload=[1]),
        lambda value: value["entries"][0].update(seq="1"),
        lambda value: value.pop("entries"),
    ],
)
def test_what_is_no_journal_is_refused_by_its_name(world: World, damage) -> None:
    run = world.start()
    first = min(world.copied)
    value = json.loads(world.copied[first])
    damage(value)
    world.copied[first] = json.dumps(value).encode()
    with pytest.raises(DamagedData, match=first):
        sealed_run(stores_of(world), bytes, run.id)


def test_objects_of_other_names_and_sizes_are_not_fetched(world: World) -> None:
    run = world.start()
    store = stores_of(world)[0]
    strange = [
        f"runs/{run.id}/evidence.json",
        f"runs/{run.id}/000-000001.tmp",
        f"runs/{run.id}/../000-000001",
        "runs/UPPER/000-000001",
    ]
    store.objects |= dict.fromkeys(strange, b"{}")
    store.objects[f"runs/{run.id}/009-000001"] = bytes(MOST_BYTES + 1)
    store.calls.clear()
    assert sealed_run([store], bytes, run.id) is not None
    fetched = {name for call, name in store.calls if call == "get"}
    assert fetched == set(world.copied)


def test_R3_what_was_sealed_only_in_part_is_sealed_whole_by_the_next_process(
    world: World, crash: type[BaseException]
) -> None:
    with pytest.raises(crash):
        world.start(breakpoint=world.crash_at("restore", "after-record"))
    world.copied.clear()  # the store lost all of it
    run = world.journal().run("latest")
    world.resume(run.id)
    found = sealed_run(stores_of(world), bytes, run.id)
    assert found is not None
    assert found.run.state is RunState.COMMITTED
    assert list(found.entries) == world.journal().entries(run.id)


def test_R3_local_only_is_told_to_the_stores_as_soon_as_they_are_back(world: World) -> None:
    world.copies_work = False

    def works_again(_call, _context):
        world.copies_work = True
        world.clock.advance(60)

    world.marks.during["fence"] = works_again
    run = world.start()
    found = sealed_run(stores_of(world), bytes, run.id)
    assert found is not None
    assert found.run.local_only


def test_a_store_that_fails_is_not_asked_for_what_is_only_worth_it(world: World) -> None:
    asked = []

    def copy(name: str, _content: bytes) -> bool:
        asked.append(name)
        return False

    from drkit.runs.journal.journal import Journal

    journal = Journal(world.database, world.clock, copy)
    run = journal.open_run(world.plan(), sandbox=False)
    journal.claim(run.id)
    journal.append(run.id, "intent", step="hold", attempt=1, payload={"effect": "traffic"})
    count = len(asked)
    journal.append(run.id, "done", step="hold", attempt=1, payload={})
    assert len(asked) == count, "what is only worth it waits"
    world.clock.advance(31)
    journal.append(run.id, "skipped", step="fence", payload={})
    assert len(asked) == count + 1


def test_R3_stores_that_hang_delay_no_effect_of_a_run_that_is_local_only_already(
    world: World,
) -> None:
    asked = []

    def copy(name: str, _content: bytes) -> bool:
        asked.append(name)
        return False

    from drkit.runs.journal.journal import Journal

    journal = Journal(world.database, world.clock, copy)
    run = journal.open_run(world.plan(), sandbox=False)
    journal.claim(run.id)
    for step in ("hold", "acquire", "fence"):
        journal.append(run.id, "intent", step=step, attempt=1, payload={"effect": "paid"})
    assert len(asked) == 1
    assert journal.run(run.id).local_only
    world.clock.advance(31)
    journal.append(run.id, "intent", step="cutover", attempt=1, payload={"effect": "traffic"})
    assert len(asked) == 2, "they may be back"


def test_an_error_of_a_place_while_listing_is_no_error_of_the_run(world: World) -> None:
    run = world.start()
    broken = MemoryStore("broken")
    broken.list = _breaks  # type: ignore[method-assign]
    assert sealed_run([broken, *stores_of(world)], bytes, run.id) is not None


def _breaks(_prefix: str):
    raise PlaceError("half a list", hint="x")
    yield


def test_R3_R9_a_request_for_money_is_in_a_store_before_it_is_made(world: World) -> None:
    world.real = ("acquire",)
    steps = tuple(  # so that nothing else is sealed beside it
        step.model_copy(update={"approval": "operator"}) if step.id == "fence" else step
        for step in world.runbook.steps
    )
    world.runbook = world.runbook.model_copy(update={"steps": steps})
    create = world.compute.create
    seen = []

    def asked(*arguments, **named):
        run = world.journal().run("latest")
        found = sealed_run(stores_of(world), bytes, run.id)
        assert found is not None
        seen.extend(each.state for each in paid_resources(found.entries))
        return create(*arguments, **named)

    world.compute.create = asked  # type: ignore[method-assign]
    assert world.start().state is RunState.NEEDS_OPERATOR
    assert seen == ["REQUESTED"]
