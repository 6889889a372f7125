"""The protective hold as a table: what is next, whatever was cut short, and whose hold it is."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime

import pytest

from drkit.coordination.hold import HoldNote, Move, Phase, Todo, next_move, note_from, record_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DOWN = {"may_hold": True, "may_release": False, "well": False}
SUSPECTED = {"may_hold": False, "may_release": False, "well": False}
WELL = {"may_hold": False, "may_release": True, "well": True}
WELL_BUT_BLOCKED = {"may_hold": False, "may_release": False, "well": True}
LEADS_THERE, HOLDS = {"gw": False}, {"gw": True}


def note(phase: Phase) -> HoldNote:
    return HoldNote(phase, () if phase in (Phase.RELEASED, Phase.LEFT) else ("gw",), 1, NOW)


@pytest.mark.parametrize(
    ("phase", "held", "facts", "todo", "after"),
    [
        (Phase.RELEASED, LEADS_THERE, DOWN, Todo.HOLD, Phase.HELD),
        (Phase.RELEASED, LEADS_THERE, SUSPECTED, Todo.NOTHING, None),
        (Phase.RELEASED, LEADS_THERE, WELL, Todo.NOTHING, None),
        (Phase.RELEASED, HOLDS, DOWN, Todo.NOTHING, None),  # an operator's, or a run's
        (Phase.RELEASED, HOLDS, WELL, Todo.NOTHING, None),
        (Phase.RELEASED, {}, DOWN, Todo.NOTHING, None),
        (Phase.HOLDING, LEADS_THERE, DOWN, Todo.HOLD, Phase.HELD),
        (Phase.HOLDING, HOLDS, DOWN, Todo.HOLD, Phase.HELD),
        (Phase.HOLDING, LEADS_THERE, WELL, Todo.NOTE, Phase.RELEASED),
        (Phase.HOLDING, HOLDS, WELL, Todo.RELEASE, Phase.RELEASED),
        (Phase.HOLDING, HOLDS, SUSPECTED, Todo.NOTHING, None),
        (Phase.HELD, HOLDS, DOWN, Todo.NOTHING, None),
        (Phase.HELD, HOLDS, SUSPECTED, Todo.NOTHING, None),
        (Phase.HELD, HOLDS, WELL_BUT_BLOCKED, Todo.NOTHING, None),
        (Phase.HELD, HOLDS, WELL, Todo.RELEASE, Phase.RELEASED),
        (Phase.HELD, LEADS_THERE, DOWN, Todo.NOTE, Phase.LEFT),  # an operator took it off
        (Phase.HELD, LEADS_THERE, WELL, Todo.NOTE, Phase.RELEASED),
        (Phase.RELEASING, HOLDS, WELL, Todo.RELEASE, Phase.RELEASED),
        (Phase.RELEASING, HOLDS, DOWN, Todo.NOTHING, None),
        (Phase.RELEASING, LEADS_THERE, WELL, Todo.NOTE, Phase.RELEASED),
        (Phase.RELEASING, LEADS_THERE, DOWN, Todo.NOTE, Phase.RELEASED),
        (Phase.LEFT, LEADS_THERE, DOWN, Todo.NOTHING, None),
        (Phase.LEFT, HOLDS, WELL, Todo.NOTE, Phase.RELEASED),
    ],
)
def test_what_is_to_do(phase, held, facts, todo, after) -> None:
    move = next_move(note(phase), held, **facts)
    assert move.todo is todo
    if after is not None:
        assert move.phase is after


def test_only_switches_that_this_hold_set_are_led_back() -> None:
    held = {"gw": True, "theirs": True}
    assert next_move(note(Phase.HELD), held, **WELL).switches == ("gw",)
    begun = next_move(note(Phase.RELEASED), {"gw": False, "theirs": True}, **DOWN)
    assert begun.switches == ("gw",)
    again = next_move(HoldNote(Phase.HOLDING, ("gw",)), {"gw": True, "late": False}, **DOWN)
    assert again.switches == ("gw", "late")


def test_a_switch_that_comes_back_late_is_held_too_and_one_that_was_taken_off_is_not() -> None:
    late = next_move(note(Phase.HELD), {"gw": True, "late": False}, **DOWN)
    assert (late.todo, late.switches) == (Todo.HOLD, ("late",))
    assert next_move(note(Phase.HELD), {"gw": True, "late": False}, **SUSPECTED) == Move(
        Todo.NOTHING, Phase.HELD, ("gw",), "users are held"
    )
    both = HoldNote(Phase.HELD, ("gw", "late"))
    assert next_move(both, {"gw": True, "late": False}, **DOWN).todo is Todo.NOTHING


def test_it_always_comes_to_rest() -> None:
    """From every note, with facts that stay, at most two moves follow each other."""
    for phase, held, facts in itertools.product(
        Phase, ({}, LEADS_THERE, HOLDS), (DOWN, SUSPECTED, WELL, WELL_BUT_BLOCKED)
    ):
        now, stands, moves = note(phase), dict(held), 0
        while (move := next_move(now, stands, **facts)).todo is not Todo.NOTHING:
            moves += 1
            assert moves <= 2, (phase, held, facts)
            if move.todo is not Todo.NOTE:
                stands |= dict.fromkeys(move.switches, move.todo is Todo.HOLD)
            now = HoldNote(move.phase, move.switches)


@pytest.mark.parametrize("phase", Phase)
def test_a_note_is_read_back_the_same(phase: Phase) -> None:
    before = HoldNote(epoch=6)
    record = record_of(before, phase, ("a", "b"), "chat", "external API", NOW)
    assert note_from(record) == HoldNote(phase, ("a", "b"), 7, NOW)
    assert (record.service, record.site) == ("chat/hold", "external API")
    of_none = record_of(before, phase, (), "chat", "external API", NOW)
    assert note_from(of_none) == HoldNote(phase, (), 7, NOW)


def test_a_note_that_cannot_be_read_holds_nobody_and_keeps_its_epoch() -> None:
    record = record_of(HoldNote(epoch=6), Phase.HELD, ("a",), "chat", "x", NOW)
    from dataclasses import replace

    assert note_from(replace(record, run_id="nonsense")) == HoldNote(epoch=7)
    assert note_from(None) == HoldNote()
    assert next_move(note_from(None), LEADS_THERE, **WELL) == Move()
