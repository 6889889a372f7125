"""What the report says, read off journals whose truth is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from types import ModuleType

import pytest

from drkit.runs.evidence import Evidence, Verdict, build_evidence, evidence_lines
from drkit.runs.records import EXTERNAL, RunState, StepState

Told = Callable[[str], Evidence]


@pytest.mark.parametrize(
    ("story", "verdict"),
    [
        ("good_drill", Verdict.PASSED),
        ("failed_drill", Verdict.FAILED),
        ("interrupted_drill", Verdict.INTERRUPTED),
        ("rolled_back", Verdict.ROLLED_BACK),
        ("committed", Verdict.PASSED),
    ],
)
def test_the_verdict_is_how_the_run_ended(told: Told, story: str, verdict: Verdict) -> None:
    evidence = told(story)
    assert evidence.verdict is verdict
    assert evidence.passed == (verdict is Verdict.PASSED)


def test_the_headline_says_lost_where_worked_and_what_data(told: Told) -> None:
    assert told("good_drill").headline == (
        "With lambda lost, assistant came up on coreweave and proved itself in 13 min 50 s; "
        "at most 29 min 46 s of data would have been lost."
    )


def test_the_headline_of_a_failure_names_the_file(told: Told) -> None:
    evidence = told("failed_drill")
    assert evidence.headline == (
        "The drill failed in verify: model-00002-of-00002.safetensors is not what was recorded."
    )
    assert evidence.consequence.startswith("Production was not touched: no name moved.")


def test_t_exec_ends_with_the_last_step_of_the_four_phases(told: Told) -> None:
    clocks = told("committed").clocks
    assert (clocks.recovered, clocks.ended_with) == (True, "verify_public")
    assert clocks.exec_s == pytest.approx(1196)
    assert clocks.total_s == pytest.approx(1196 + 187)


def test_a_drill_stays_recovered_after_its_teardown(told: Told) -> None:
    evidence = told("good_drill")
    cutover = next(step for step in evidence.steps if step.id == "cutover")
    assert cutover.state is StepState.UNDONE
    assert evidence.clocks.recovered


def test_a_failover_whose_target_was_given_back_did_not_recover(stories: ModuleType) -> None:
    _, plan, entries = stories.committed()
    story = stories.Story(plan, entries=list(entries[:-3]))
    story.state(2996, "ROLLING_BACK").undo(2997, 2998, "cutover", "llm.example.org names nothing")
    run = story.record(RunState.ROLLED_BACK, outcome="rolled back")
    evidence = build_evidence(run, plan, story.entries, now=story.entries[-1].at)
    assert not evidence.clocks.recovered
    assert evidence.clocks.within is None
    assert evidence.consequence.startswith("Traffic: llm.example.org names nothing.")


def test_a_hold_that_failed_does_not_keep_the_clock_running(stories: ModuleType) -> None:
    run, plan, entries = stories.committed()
    payload = {"error": "the gateway does not answer", "hint": "", "proofs": []}
    changed = [
        replace(entry, kind="failed", payload=payload)
        if (entry.step, entry.kind) == ("hold", "done")
        else entry
        for entry in entries
    ]
    evidence = build_evidence(run, plan, changed, now=changed[-1].at)
    assert evidence.clocks.recovered
    assert evidence.verdict is Verdict.PASSED
    assert [step.id for step in evidence.failed_steps] == ["hold"]


def test_a_step_that_succeeded_at_last_is_no_failure(told: Told) -> None:
    evidence = told("rolled_back")
    acquire = next(step for step in evidence.steps if step.id == "acquire")
    assert [segment.attempt for segment in acquire.segments] == [1, 2]
    assert acquire.segments[0].state is StepState.FAILED
    assert [step.id for step in evidence.failed_steps] == ["deploy"]


def test_phases_are_the_wall_time_of_the_union_of_their_steps(told: Told) -> None:
    spent = {phase.name: phase.spent_s for phase in told("good_drill").phases}
    # hold 0.5-9.1 and cutover 741.3-806.0; acquire 21.6-80.1 and deploy 80.3-612.9
    assert spent["dns"] == pytest.approx(8.6 + 64.7)
    assert spent["deploy"] == pytest.approx(58.5 + 532.6)
    assert spent["verify"] == pytest.approx(127.9 + 23.5)


def test_budgets_are_those_of_the_documented_procedure(told: Told) -> None:
    budgets = {phase.name: phase.budget_s for phase in told("good_drill").phases}
    assert budgets == {"dns": 300, "deploy": 600, "restore": 900, "verify": 300, "other": None}


def test_a_phase_over_its_budget_is_said(told: Told) -> None:
    phases = {phase.name: phase for phase in told("committed").phases}
    assert phases["deploy"].within is False
    assert phases["restore"].within is True


def test_over_the_rto_is_not_passed(stories: ModuleType) -> None:
    run, plan, entries = stories.good_drill()
    plan = replace(plan, rto_min=10)
    evidence = build_evidence(run, plan, entries, now=entries[-1].at)
    assert evidence.verdict is Verdict.MISSED_TARGET
    assert not evidence.passed
    assert "it took 13 min 50 s where 10 min are allowed" in evidence.headline


def test_a_source_older_than_its_own_limit_is_not_passed(stories: ModuleType) -> None:
    run, plan, entries = stories.good_drill()
    point = dict(stories.POINT)
    point["sources"] = point["sources"] | {
        "qdrant": point["sources"]["qdrant"] | {"rpo_min": 15},
    }
    changed = [
        replace(entry, payload={**entry.payload, "output": point})
        if (entry.step, entry.kind) == ("point", "done")
        else entry
        for entry in entries
    ]
    evidence = build_evidence(run, plan, changed, now=entries[-1].at)
    assert evidence.verdict is Verdict.MISSED_TARGET
    assert "qdrant was 29 min 46 s old where 15 min are allowed" in evidence.headline


def test_a_failover_loses_nothing_of_what_stayed_elsewhere(told: Told) -> None:
    data = told("committed").data
    assert data.loss_s == 0
    assert not any(source.affected for source in data.sources)
    assert "no data was lost with it" in told("committed").headline


def test_weights_that_are_read_only_are_no_data_that_is_lost(stories: ModuleType) -> None:
    run, plan, entries = stories.good_drill()
    ours = {"kind": "weights", "cut_at": "2026-11-20T02:00:00+00:00", "lives_on": "lambda"}
    changed = [
        replace(entry, payload={**entry.payload, "output": stories.POINT | {"sources": sources}})
        if (entry.step, entry.kind) == ("point", "done")
        else entry
        for entry in entries
        for sources in [{"ours": ours | {"rpo_min": None, "files": 2, "bytes": 9}}]
    ]
    evidence = build_evidence(run, plan, changed, now=entries[-1].at)
    assert (evidence.data.loss_s, evidence.data.worst) == (0, "")
    assert evidence.passed
    assert "no data was lost with it" in evidence.headline


def test_without_a_point_the_loss_is_not_known(stories: ModuleType) -> None:
    plan = stories.make_plan()
    story = stories.Story(plan).state(1, "PREFLIGHT").intent(1, "preflight")
    evidence = build_evidence(
        story.record(RunState.PREFLIGHT), plan, story.entries, now=stories.START
    )
    assert evidence.data.loss_s is None
    assert evidence.data.within is None


def test_age_counts_up_to_the_first_failed_probe(told: Told) -> None:
    sources = {source.name: source for source in told("good_drill").data.sources}
    assert sources["sncp"].loss_s == pytest.approx(288.204, abs=0.001)
    assert sources["sncp"].within


def test_failed_proofs_come_first_and_name_their_files(told: Told) -> None:
    proofs = told("failed_drill").proofs
    assert [proof.passed for proof in proofs] == [False] + [True] * 5
    assert proofs[0].files == ("model-00002-of-00002.safetensors",)


def test_proofs_of_an_attempt_that_was_repeated_are_not_counted_twice(stories: ModuleType) -> None:
    plan = stories.make_plan()
    story = stories.Story(plan).intent(1, "verify")
    story.failed(2, "verify", "wrong", proofs=[stories.proof("tree", "sncp", "1", passed=False)])
    story.intent(3, "verify", 2).done(4, "verify", proofs=stories.PROOFS[:2], attempt=2)
    run = story.record(RunState.RUNNING)
    evidence = build_evidence(run, plan, story.entries, now=stories.START)
    assert [proof.passed for proof in evidence.proofs] == [True, True]


def test_cost_counts_from_the_request_until_it_was_gone(told: Told) -> None:
    (cost,) = told("good_drill").costs
    assert cost.alive_s == pytest.approx(903.0 - 22.0)
    assert told("good_drill").total_usd == pytest.approx(1.5 * 881.0 / 3600)


def test_what_still_runs_costs_up_to_now(told: Told) -> None:
    evidence = told("committed")
    (cost,) = evidence.costs
    assert cost.until is None
    assert cost.alive_s == pytest.approx(2997.1 + 2 - 17.2)


def test_what_serves_now_is_in_use_and_not_left_over_by_mistake(told: Told) -> None:
    (left,) = told("committed").left_over
    assert (left.gone, left.wanted) == (False, True)
    assert "Not proved to be gone" not in told("committed").consequence


def test_an_instance_that_was_not_destroyed_is_said_first(stories: ModuleType) -> None:
    run, plan, entries = stories.good_drill()
    kept = [e for e in entries if "CONFIRMED_GONE" not in str(e.payload)]
    kept = [e for e in kept if not (e.kind == "undone" and e.step == "acquire")]
    evidence = build_evidence(run, plan, kept, now=entries[-1].at)
    assert "Not proved to be gone: L40 in ORD1 (i-0b7f12c44a)." in evidence.consequence
    assert "Nothing it made is left over" not in evidence.consequence


def test_a_request_without_an_answer_is_not_called_gone(stories: ModuleType) -> None:
    plan = stories.make_plan("failover")
    story = stories.Story(plan).intent(1, "acquire").paid(2, "REQUESTED")
    run = story.record(RunState.NEEDS_OPERATOR)
    evidence = build_evidence(run, plan, story.entries, now=stories.START)
    assert [left.gone for left in evidence.left_over] == [False]
    assert "acquire/1.0" in evidence.consequence


def test_what_was_left_out_is_listed_with_its_reason(told: Told) -> None:
    left_out = {step.id: step.skipped_why for step in told("good_drill").not_exercised}
    assert left_out == {"observe": "the runbook gives this step to failover only"}
    assert [step.id for step in told("failed_drill").not_exercised] == [
        "cutover",
        "verify_public",
        "observe",
        "commit",
    ]


def test_a_time_without_a_process_is_a_gap_and_counts(told: Told) -> None:
    evidence = told("committed")
    (gap,) = evidence.gaps
    assert (gap.begin_s, gap.end_s) == pytest.approx((31.3, 212))
    acquire = next(step for step in evidence.steps if step.id == "acquire")
    assert acquire.adopted
    assert acquire.spent_s == pytest.approx(213.5 - 17.1)


def test_a_step_that_left_no_result_ends_where_the_work_ended(told: Told) -> None:
    deploy = next(step for step in told("interrupted_drill").steps if step.id == "deploy")
    assert deploy.state is StepState.EFFECT_UNKNOWN
    assert deploy.segments[-1].end_s == pytest.approx(391.2)
    assert deploy.ended_at is None


def test_times_are_those_of_the_journal(stories: ModuleType) -> None:
    run, plan, entries = stories.good_drill()
    evidence = build_evidence(run, plan, entries, now=entries[-1].at)
    assert [(line.seq, line.at, line.elapsed_s) for line in evidence.journal] == [
        (entry.seq, entry.at, entry.elapsed_s) for entry in entries
    ]
    times = {(entry.step, entry.kind): entry.at for entry in entries if entry.kind == "done"}
    for step in evidence.steps:
        if (step.id, "done") in times:
            assert step.ended_at == times[step.id, "done"]


def test_a_clock_that_was_set_back_makes_no_negative_time(stories: ModuleType) -> None:
    run, plan, entries = stories.good_drill()
    jumped = [
        replace(entry, at=entry.at - timedelta(hours=5)) if entry.seq > 9 else entry
        for entry in entries
    ]
    straight = build_evidence(run, plan, entries, now=entries[-1].at)
    evidence = build_evidence(run, plan, jumped, now=jumped[-1].at)
    assert [phase.spent_s for phase in evidence.phases] == [p.spent_s for p in straight.phases]
    assert all(cost.alive_s >= 0 for cost in evidence.costs)


def test_a_steady_clock_that_began_anew_is_bridged_by_the_wall_clock(stories: ModuleType) -> None:
    run, plan, entries = stories.committed()
    resumed = next(index for index, entry in enumerate(entries) if entry.kind == "resumed")
    rebooted = [
        replace(entry, elapsed_s=entry.elapsed_s - entries[resumed].elapsed_s)
        if index >= resumed
        else entry
        for index, entry in enumerate(entries)
    ]
    evidence = build_evidence(run, plan, rebooted, now=rebooted[-1].at)
    assert evidence.clocks.exec_s == pytest.approx(1196)


def test_the_sandbox_is_declared_on_the_terminal(told: Told) -> None:
    lines = evidence_lines(replace(told("good_drill"), sandbox=True))
    assert any("counts for nothing real" in line for line in lines)
    assert not any("SANDBOX" in line for line in evidence_lines(told("good_drill")))


def test_the_terminal_names_result_clocks_phases_and_wrong_files(told: Told) -> None:
    lines = evidence_lines(told("failed_drill"))
    assert lines[0].startswith("FAILED: The drill failed in verify")
    text = "\n".join(lines)
    for expected in ("T_exec", "35 min allowed", "restore  3.7 s of 15 min", "next: keep serving"):
        assert expected in text
    assert "model-00002-of-00002.safetensors" in text


@pytest.mark.parametrize(
    ("site", "run_id", "stays"),
    [
        ("runpod", "failover-1", True),
        ("lambda", "failback-1", False),
        ("external API", "switchover-1", False),
    ],
)
def test_the_machine_of_a_target_that_is_left_goes_on_costing_and_is_named(
    stories: ModuleType, site: str, run_id: str, stays: bool
) -> None:
    run, plan, entries = stories.STORIES["committed"]()
    former = {"site": site, "endpoint_url": "http://192.0.2.1:8000", "run_id": run_id}
    noted = replace(entries[-1], kind="note", step="cutover", payload={"former": former})

    evidence = build_evidence(run, plan, [*entries, noted], now=entries[-1].at)

    assert (f"Not proved to be gone: the machine at {site}." in evidence.consequence) == stays
    assert any(run_id in left.detail for left in evidence.left_over) == stays
    for changed in ({"kind": "failback"}, {"target": EXTERNAL}):  # a failback gives it back
        other = build_evidence(replace(run, **changed), plan, [*entries, noted], now=run.created_at)
        assert not any(run_id in left.detail for left in other.left_over)


def test_what_is_not_over_says_what_is_known_and_no_figures_of_the_end(told: Told) -> None:
    waits = replace(told("failed_drill"), sandbox=True, verdict=Verdict.NEEDS_OPERATOR)
    ended = evidence_lines(replace(waits, verdict=Verdict.FAILED))

    lines = evidence_lines(waits)

    assert {"T_exec", "SANDBOX"} <= {line.split()[0] for line in ended}
    assert not {"T_exec", "SANDBOX", "changed"} & {line.split()[0] for line in lines}
    assert {"verified", "failed", "left"} <= {line.split()[0] for line in lines}


def test_a_run_that_restores_nothing_says_so_instead_of_not_known(stories: ModuleType) -> None:
    run, plan, entries = stories.committed()
    steps = tuple(step for step in plan.steps if step.action not in ("point", "restore"))
    entries = [entry for entry in entries if entry.step not in ("point", "restore")]
    entries = [replace(entry, seq=seq) for seq, entry in enumerate(entries, start=1)]
    now = entries[-1].at
    evidence = build_evidence(run, replace(plan, steps=steps), entries, now=now)
    assert evidence.data.none_restored
    assert "nothing was restored: data stayed where it is" in evidence.headline
    lines = "\n".join(evidence_lines(evidence))
    assert "nothing was restored" in lines
    assert "not known" not in lines
    run, plan, entries = stories.committed()
    assert not build_evidence(run, plan, entries, now=now).data.none_restored
