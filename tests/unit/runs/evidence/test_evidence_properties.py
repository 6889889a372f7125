"""What holds for every journal, however it was cut off and whatever the clocks did."""

from __future__ import annotations

import json
from datetime import timedelta
from types import ModuleType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from drkit.runs.evidence import build_evidence, evidence_html, evidence_json, evidence_lines
from drkit.runs.evidence.timeline import clock_axis, union_s
from drkit.runs.records import RunState

STEPS = ["hold", "preflight", "acquire", "deploy", "point", "restore", "verify", "unplanned"]
KINDS = ["intent", "done", "failed", "skipped", "undone", "note", "resumed", "state"]

moments = st.lists(
    st.tuples(
        st.floats(-1e5, 1e5, allow_nan=False),  # what the steady clock says since the last entry
        st.floats(-1e6, 1e6, allow_nan=False),  # and the wall clock
        st.sampled_from(STEPS),
        st.sampled_from(KINDS),
        st.booleans(),
    ),
    max_size=25,
)


def journal(stories: ModuleType, drawn: list[tuple[float, float, str, str, bool]]) -> object:
    story = stories.Story(stories.make_plan())
    elapsed_s, wall_s = 0.0, 0.0
    for steady, wall, step, kind, undo in drawn:
        elapsed_s, wall_s = elapsed_s + steady, wall_s + wall
        story.add(wall_s, kind, None if kind in ("resumed", "state") else step, {"undo": undo})
        entry = story.entries[-1]
        story.entries[-1] = type(entry)(
            entry.seq, entry.at, elapsed_s, entry.step, 1, entry.kind, entry.payload
        )
    return story


@given(drawn=moments, state=st.sampled_from(RunState), probe_s=st.floats(-1e6, 1e6))
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_no_time_is_negative_and_nothing_lies_outside_the_run(
    stories: ModuleType,
    drawn: list[tuple[float, float, str, str, bool]],
    state: RunState,
    probe_s: float,
) -> None:
    story = journal(stories, drawn)
    probe = stories.START + timedelta(seconds=probe_s)
    run = story.record(state, first_failed_probe_at=probe)
    evidence = build_evidence(run, story.plan, story.entries, now=stories.START)
    spans = [
        (segment.begin_s, segment.end_s)
        for step in evidence.steps
        for segment in (*step.segments, *step.undo)
    ] + [(gap.begin_s, gap.end_s) for gap in evidence.gaps]
    for begin, end in spans:
        assert 0 <= begin <= end <= evidence.length_s
    clocks = evidence.clocks
    assert 0 <= clocks.exec_s <= evidence.length_s
    assert clocks.total_s is not None
    assert clocks.total_s >= clocks.exec_s
    for phase in evidence.phases:
        members = [step.spent_s for step in evidence.steps if step.phase == phase.name]
        assert 0 <= phase.spent_s <= sum(members) + 1e-6
        assert phase.spent_s >= max(members, default=0) - 1e-6
        assert phase.spent_s <= evidence.length_s + 1e-6
    assert evidence.total_usd >= 0
    assert {step.phase for step in evidence.steps} == {phase.name for phase in evidence.phases}


@given(drawn=moments, state=st.sampled_from(RunState))
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_every_journal_can_be_shown(
    stories: ModuleType, drawn: list[tuple[float, float, str, str, bool]], state: RunState
) -> None:
    story = journal(stories, drawn)
    evidence = build_evidence(story.record(state), story.plan, story.entries, now=stories.START)
    assert "<h1>" in evidence_html(evidence)
    assert json.loads(evidence_json(evidence))["run_id"] == evidence.run_id
    assert evidence_lines(evidence)


@pytest.mark.parametrize("name", ["good_drill", "rolled_back", "committed"])
def test_a_journal_cut_off_anywhere_tells_no_more_than_it_knows(
    stories: ModuleType, name: str
) -> None:
    run, plan, entries = stories.STORIES[name]()
    whole = build_evidence(run, plan, entries, now=entries[-1].at)
    for length in range(1, len(entries)):
        story = stories.Story(plan, entries=list(entries[:length]))
        cut = build_evidence(
            story.record(RunState.RUNNING), plan, story.entries, now=story.entries[-1].at
        )
        assert not cut.passed
        assert cut.clocks.exec_s <= whole.length_s
        assert cut.length_s <= whole.length_s


@given(
    st.lists(
        st.tuples(st.integers(0, 60), st.integers(0, 20)).map(lambda s: (s[0], s[0] + s[1])),
        max_size=12,
    )
)
def test_the_union_is_what_counting_second_by_second_gives(spans: list[tuple[int, int]]) -> None:
    covered = {second for begin, end in spans for second in range(begin, end)}
    assert union_s([(float(begin), float(end)) for begin, end in spans]) == len(covered)


@given(drawn=moments)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_axis_begins_at_nought_and_never_falls(
    stories: ModuleType, drawn: list[tuple[float, float, str, str, bool]]
) -> None:
    axis = clock_axis(journal(stories, drawn).entries)  # type: ignore[attr-defined]
    assert axis[0] == 0
    assert axis == sorted(axis)
