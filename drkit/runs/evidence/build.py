"""From a run's record, plan and journal to its evidence. Pure: the time is an argument."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from drkit.runs.book.plan import Plan
from drkit.runs.evidence.entry_words import entry_words
from drkit.runs.evidence.facts import (
    costs,
    data_loss,
    left_elsewhere,
    left_over,
    outputs_by_action,
    proofs,
)
from drkit.runs.evidence.timeline import clock_axis, end_of, gaps, phase_lines, step_lines
from drkit.runs.evidence.values import (
    Clocks,
    DeclaredOverride,
    Evidence,
    JournalLine,
    ShownOverride,
    StepLine,
)
from drkit.runs.evidence.words import consequence, headline, judge
from drkit.runs.records import Entry, RunRecord, StepState, paid_resources


def build_evidence(
    run: RunRecord,
    plan: Plan,
    entries: Sequence[Entry],
    *,
    overrides: Sequence[DeclaredOverride] = (),
    now: datetime,
) -> Evidence:
    """The report of `run` as its journal knows it at `now`, whether it is over or not."""
    ended = run.ended_at is not None or run.state.ended
    axis = clock_axis(entries)
    end_s = end_of(entries, axis, ended, now)
    steps = step_lines(plan, entries, axis, end_s, ended=ended)
    clocks = measure(run, plan, steps, end_s)
    outputs = outputs_by_action(steps, entries)
    data = data_loss(run, plan, outputs)
    paid = paid_resources(entries)
    left = (
        *left_over(run, steps, entries, paid, outputs),
        *left_elsewhere(run, plan, entries),
    )
    made = proofs(entries)
    verdict = judge(run, clocks, data)
    return Evidence(
        run_id=run.id,
        verdict=verdict,
        headline=headline(run, verdict, steps, made, clocks, data, plan.lost),
        consequence=consequence(run, verdict, steps, left),
        kind=run.kind,
        service=run.service,
        namespace=run.namespace,
        runbook=run.runbook,
        target=run.target,
        lost=plan.lost,
        state=run.state.value,
        outcome=run.outcome,
        sandbox=run.sandbox,
        local_only=run.local_only,
        created_at=run.created_at,
        started_at=run.started_at,
        ended_at=run.ended_at,
        first_failed_probe_at=run.first_failed_probe_at,
        generated_at=now,
        plan_checksum=run.plan_checksum,
        epoch=run.epoch,
        drkit_version=run.drkit_version,
        action_versions=tuple(sorted({(step.action, step.version) for step in plan.steps})),
        length_s=end_s,
        steps=steps,
        phases=phase_lines(steps),
        gaps=gaps(entries, axis),
        clocks=clocks,
        data=data,
        proofs=made,
        costs=costs(paid, now),
        left_over=left,
        overrides=tuple(ShownOverride(o.name, o.real, o.sandbox) for o in overrides),
        journal=journal_lines(entries, axis),
    )


def journal_lines(entries: Sequence[Entry], axis: Sequence[float]) -> tuple[JournalLine, ...]:
    """Each entry with its place on the axis, in seconds since the run began, and in words."""
    return tuple(
        JournalLine(
            seq=entry.seq,
            at=entry.at,
            elapsed_s=entry.elapsed_s,
            since_start_s=at_s,
            step=entry.step,
            attempt=entry.attempt,
            kind=entry.kind,
            text=entry_words(entry),
            payload=entry.payload,
        )
        for entry, at_s in zip(entries, axis, strict=True)
    )


def measure(run: RunRecord, plan: Plan, steps: Sequence[StepLine], end_s: float) -> Clocks:
    """Both clocks, stopped when the last step of the four phases was done.

    A hold and other steps that the runbook can go on without do not count, nor what an operator
    skipped. What was undone in a failover did not stand; a drill undoes everything at its end, and
    its clocks stay.
    """
    forgiven = {step.id for step in plan.steps if step.skip or step.on_failure == "continue"}
    forgiven |= {step.id for step in steps if step.state is StepState.SKIPPED}
    needed = [step for step in steps if step.phase != "other" and step.id not in forgiven]
    stands = all(
        step.done_s is not None and (run.kind == "drill" or step.state is StepState.DONE)
        for step in needed
    )
    done = [(step.done_s, step.id) for step in needed if step.done_s is not None]
    recovered = bool(needed) and stands
    exec_s, last = max(done) if recovered else (end_s, "")
    before_s = (
        None
        if run.first_failed_probe_at is None
        else max(0.0, (run.created_at - run.first_failed_probe_at).total_seconds())
    )
    return Clocks(
        recovered=recovered,
        exec_s=exec_s,
        before_s=before_s,
        target_s=plan.rto_min * 60,
        ended_with=last,
    )
