"""What the steps' outputs say about proofs, data, money and what is left over.

A step's output is read by the name of its action, and only for the keys that docs/evidence.md
lists; what is absent stays unknown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from drkit.runs.book.plan import Plan
from drkit.runs.evidence.reading import Output
from drkit.runs.evidence.values import (
    CostLine,
    DataLoss,
    LeftOver,
    ShownProof,
    SourceLine,
    StepLine,
)
from drkit.runs.records import EXTERNAL, Entry, PaidResource, RunRecord, RunState, StepState

_NOTHING = Output(None)


def outputs_by_action(steps: Sequence[StepLine], entries: Iterable[Entry]) -> dict[str, Output]:
    """The newest recorded output of each action."""
    action_of = {step.id: step.action for step in steps}
    return {
        action_of[entry.step]: Output(entry.payload.get("output"))
        for entry in entries
        if entry.kind == "done" and entry.step in action_of
    }


def proofs(entries: Iterable[Entry]) -> tuple[ShownProof, ...]:
    """Every proof of each step's last result, failures first."""
    last: dict[str, Entry] = {}
    for entry in entries:
        if entry.step is not None and entry.kind in ("done", "failed"):
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

    Only sources that were lost count, in a drill all; of these, those that have a limit, if any
    has, and else all but weights, which are read only. Nothing is lost where none of them was;
    nothing is known where no point was chosen.
    """
    point, restore = outputs.get("point", _NOTHING), outputs.get("restore", _NOTHING)
    lost_at = run.first_failed_probe_at or run.created_at
    brought = dict(restore.parts("restored"))
    sources = tuple(
        _source(name, source, brought.get(name), plan, lost_at)
        for name, source in point.parts("sources")
    )
    affected = [source for source in sources if source.affected and source.loss_s is not None]
    measured = [source for source in affected if source.target_s is not None] or [
        source for source in affected if source.kind != "weights"
    ]
    worst = max(measured, key=lambda source: source.loss_s or 0.0, default=None)
    loss_s = worst.loss_s if worst else 0.0 if sources else None
    return DataLoss(
        loss_s=loss_s,
        target_s=plan.rpo_min * 60,
        worst=worst.name if worst else "",
        sources=sources,
        snapshot_id=point.text("snapshot_id"),
        stores=point.texts("stores"),
        weights=_weights(outputs.get("deploy", _NOTHING)),
        none_restored=loss_s is None and _restores_nothing(plan, outputs),
    )


def _restores_nothing(plan: Plan, outputs: Mapping[str, Output]) -> bool:
    """No step of it restores, or the one that brings home found nothing to bring."""
    planned = any(step.action.startswith("restore") and step.skip is None for step in plan.steps)
    home = outputs.get("restore_home")
    return not planned or (home is not None and not any(home.parts("restored")))


def _source(
    name: str, source: Output, brought: Output | None, plan: Plan, lost_at: datetime
) -> SourceLine:
    cut_at = source.moment("cut_at")
    target_min = source.number("rpo_min")
    lives_on = source.text("lives_on")
    affected = plan.kind == "drill" or lives_on in plan.lost
    there = brought or _NOTHING
    return SourceLine(
        name=name,
        kind=source.text("kind"),
        lives_on=lives_on,
        cut_at=cut_at,
        loss_s=None if cut_at is None else max(0.0, (lost_at - cut_at).total_seconds()),
        target_s=None if target_min is None else target_min * 60,
        affected=affected,
        restored=brought is not None,
        into=tuple(place for place in (there.text("into"), there.text("url")) if place),
        files=there.whole("files"),
        size_bytes=there.whole("bytes"),
        took_s=there.number("seconds"),
    )


def _weights(deploy: Output) -> str:
    digest, files = deploy.text("manifest_digest"), deploy.whole("files")
    if not digest or files is None:
        return ""
    return f"{files} files by manifest {digest[:12]}, fetched by the new machine itself"


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
    run: RunRecord,
    steps: Sequence[StepLine],
    entries: Sequence[Entry],
    paid: Sequence[PaidResource],
    outputs: Mapping[str, Output],
) -> tuple[LeftOver, ...]:
    """What the run made, and whether it is proved to be gone; what serves now is wanted."""
    serves = run.state is RunState.COMMITTED
    made = [_paid_thing(resource, serves) for resource in paid]
    restored = outputs.get("restore", _NOTHING)
    for step in steps:
        if step.action == "restore" and (step.undo or any(restored.parts("restored"))):
            made.append(_made_by(step, "restored data", serves))
        elif step.action == "cutover" and run.kind == "drill" and step.segments:
            made.append(_made_by(step, "the drill's names", serves))
    looked = [Output(e.payload) for e in entries if e.kind == "note" and "left_over" in e.payload]
    if looked:
        found = looked[-1].texts("left_over")
        said = looked[-1].text("text")
        made.append(LeftOver("anything with this run's tag", gone=not found, detail=said))
    return tuple(made)


def left_elsewhere(run: RunRecord, plan: Plan, entries: Sequence[Entry]) -> tuple[LeftOver, ...]:
    """The machine that served before this run, on a target: no run that follows gives it back.
    A failback gives back the one it leaves, also after users were sent to the external API.
    """
    homes = [Output(e.payload["former"]) for e in entries if "former" in e.payload]
    leads_on = run.kind != "failback" and run.target != EXTERNAL
    if run.state is not RunState.COMMITTED or not leads_on or not homes:
        return ()
    site, by_run = homes[0].text("site"), homes[0].text("run_id")
    if not by_run or site in ("", plan.primary, EXTERNAL):
        return ()
    detail = f"it served until now, by {by_run}; it goes on costing: end it if nobody needs it"
    return (LeftOver(f"the machine at {site}", gone=False, detail=detail),)


def _paid_thing(resource: PaidResource, serves: bool) -> LeftOver:
    name = f"{resource.what} ({resource.instance_id or resource.key})"
    price = f"${resource.usd_per_hour:.2f} an hour"
    if resource.state == "CONFIRMED_GONE":
        never = resource.instance_id is None
        detail = "never came to be" if never else "destroyed; its provider lists it no more"
        return LeftOver(name, gone=True, detail=detail)
    if resource.state == "REQUESTED":
        detail = f"asked for, and no answer was recorded; {price} if it exists"
        return LeftOver(name, gone=False, detail=detail)
    return LeftOver(name, gone=False, detail=price, wanted=serves)


def _made_by(step: StepLine, what: str, serves: bool) -> LeftOver:
    if step.state is StepState.UNDONE:
        return LeftOver(what, gone=True, detail=step.undo_proof)
    return LeftOver(what, gone=False, detail=step.undo_error or step.proof, wanted=serves)
