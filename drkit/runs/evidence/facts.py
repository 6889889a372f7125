"""What the steps' outputs say about data, money and what is left over.

A step's output is read by the name of its action, and only for the keys that docs/evidence.md
lists; what is absent stays unknown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from drkit.runs.evidence.reading import Output
from drkit.runs.evidence.values import (
    CostLine,
    DataLoss,
    LeftOver,
    ShownProof,
    SourceLine,
    StepLine,
)
from drkit.runs.plan import Plan
from drkit.runs.records import Entry, PaidResource, RunRecord, StepState


def outputs_by_action(steps: Sequence[StepLine], entries: Iterable[Entry]) -> dict[str, Output]:
    """The newest recorded output of each action."""
    action_of = {step.id: step.action for step in steps}
    return {
        action_of[entry.step]: Output(entry.payload.get("output"))
        for entry in entries
        if entry.kind == "done" and entry.step in action_of
    }


def proofs(entries: Iterable[Entry]) -> tuple[ShownProof, ...]:
    """Every proof of each step's last result, failures first, else in the order they were made."""
    last: dict[str, Entry] = {}
    for entry in entries:
        if entry.step is not None and entry.kind in ("done", "failed"):
            last.pop(entry.step, None)
            last[entry.step] = entry
    shown = [
        ShownProof(
            step=step,
            check=proof.text("check"),
            subject=proof.text("subject"),
            passed=proof.flag("passed"),
            detail=proof.text("detail"),
            files=proof.texts("files"),
        )
        for step, entry in last.items()
        for proof in Output(entry.payload).each("proofs")
    ]
    return tuple(sorted(shown, key=lambda proof: proof.passed))


def data_loss(run: RunRecord, plan: Plan, outputs: Mapping[str, Output]) -> DataLoss:
    """RPO of every source of the chosen point: from its cut to the moment service was lost, which
    is the first failed probe or, without one, the run's beginning.
    """
    point, restored = outputs.get("point", Output(None)), outputs.get("restore", Output(None))
    lost_at = run.first_failed_probe_at or run.created_at
    brought = dict(restored.parts("restored"))
    sources = tuple(
        _source(name, source, brought.get(name), plan, lost_at)
        for name, source in point.parts("sources")
    )
    measured = [
        (source.loss_s, source.name)
        for source in sources
        if source.affected and source.loss_s is not None and source.target_s is not None
    ]
    loss_s, worst = max(measured, default=(None, ""))
    if loss_s is None and not sources and run.point_cut_at is not None:
        loss_s = max(0.0, (lost_at - run.point_cut_at).total_seconds())
    return DataLoss(
        loss_s=loss_s,
        target_s=plan.rpo_min * 60,
        worst=worst,
        sources=sources,
        snapshot_id=point.text("snapshot_id"),
    )


def _source(
    name: str, source: Output, brought: Output | None, plan: Plan, lost_at: datetime
) -> SourceLine:
    cut_at = source.moment("cut_at")
    target_min = source.number("rpo_min")
    lives_on = source.text("lives_on")
    affected = plan.kind == "drill" or lives_on in plan.lost
    there = brought or Output(None)
    size = there.whole("bytes")
    return SourceLine(
        name=name,
        kind=source.text("kind"),
        cut_at=cut_at,
        loss_s=None if cut_at is None else max(0.0, (lost_at - cut_at).total_seconds()),
        target_s=None if target_min is None else target_min * 60,
        affected=affected,
        restored=brought is not None,
        into=there.text("into", "url"),
        origin=there.text("store"),
        files=there.whole("files"),
        size_bytes=size,
        took_s=there.number("seconds"),
        remark="" if affected else f"stayed on {lives_on}; nothing of it was lost",
    )


def costs(paid: Sequence[PaidResource], now: datetime) -> tuple[CostLine, ...]:
    """One line for everything paid that came to be, from its request until it was gone."""
    return tuple(
        CostLine(
            instance=resource.instance_id,
            what=resource.what,
            usd_per_hour=resource.usd_per_hour,
            alive_s=max(0.0, ((resource.gone_at or now) - resource.requested_at).total_seconds()),
            since=resource.requested_at,
            until=resource.gone_at,
        )
        for resource in paid
        if resource.instance_id is not None
    )


def left_over(
    run: RunRecord, steps: Sequence[StepLine], paid: Sequence[PaidResource]
) -> tuple[LeftOver, ...]:
    """What the run made, and whether it is proved to be gone; what serves now is wanted."""
    serves = run.kind == "failover" and not any(step.undo for step in steps)
    made = []
    for resource in paid:
        name = resource.instance_id or f"request {resource.key}"
        if resource.state == "CONFIRMED_GONE":
            detail = f"{resource.what}: looked for by tag and not found"
            made.append(LeftOver(name, True, detail))
        elif serves and resource.state == "ADOPTED":
            detail = f"{resource.what}: in use, ${resource.usd_per_hour:.2f} an hour"
            made.append(LeftOver(name, False, detail, wanted=True))
        elif resource.state == "REQUESTED":
            made.append(LeftOver(name, False, f"{resource.what}: asked for, answer not recorded"))
        else:
            made.append(
                LeftOver(name, False, f"{resource.what}: ${resource.usd_per_hour:.2f} an hour")
            )
    for step in steps:
        if step.state is StepState.UNDONE:
            continue
    return tuple(made)
