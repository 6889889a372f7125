"""The verdict, the result in one sentence, and what follows from it in another."""

from __future__ import annotations

from collections.abc import Sequence

from drkit.runs.evidence.values import (
    Clocks,
    DataLoss,
    LeftOver,
    ShownProof,
    StepLine,
    Verdict,
)
from drkit.runs.records import EXTERNAL, RunRecord, RunState, StepState
from drkit.units import format_duration

_LONGEST_REASON = 160


def judge(run: RunRecord, clocks: Clocks, data: DataLoss) -> Verdict:
    """How the run ended. A run that met every proof but not its targets did not pass."""
    match run.state:
        case RunState.INTERRUPTED:
            return Verdict.INTERRUPTED
        case RunState.ROLLED_BACK:
            return Verdict.ROLLED_BACK
        case RunState.ROLLBACK_FAILED:
            return Verdict.ROLLBACK_FAILED
        case RunState.NEEDS_OPERATOR:
            return Verdict.NEEDS_OPERATOR
        case RunState.COMMITTED | RunState.DONE:
            if not clocks.recovered or run.outcome == "failed":
                return Verdict.FAILED
            missed = clocks.within is False or data.within is False
            return Verdict.MISSED_TARGET if missed else Verdict.PASSED
        case _:
            return Verdict.OPEN


def headline(
    run: RunRecord,
    verdict: Verdict,
    steps: Sequence[StepLine],
    proofs: Sequence[ShownProof],
    clocks: Clocks,
    data: DataLoss,
    lost: Sequence[str],
) -> str:
    """One sentence: what was lost, where it came up, whether it works, what data was lost."""
    name, came_up = run.kind, _came_up(run, lost)
    loss = f"; {_loss(run, data)}" if run.kind in ("failover", "drill", "restore") else ""
    match verdict:
        case Verdict.PASSED:
            return f"{came_up} in {format_duration(clocks.exec_s)}{loss}."
        case Verdict.MISSED_TARGET:
            return f"{came_up}, but {_missed(clocks, data)}{loss}."
        case Verdict.FAILED:
            return f"The {name} failed{_why(steps, proofs)}."
        case Verdict.INTERRUPTED:
            return f"The {name} was interrupted{_at(steps)} and proves nothing."
        case Verdict.ROLLED_BACK:
            way = "from" if run.kind == "failback" else "to"
            why = _why(steps, proofs)
            return f"The {name} {way} {run.target} was rolled back: it failed{why}."
        case Verdict.ROLLBACK_FAILED:
            return f"The {name} failed{_why(steps, proofs)}; not all of it could be undone."
        case Verdict.NEEDS_OPERATOR:
            return f"The {name} waits for a person: it stopped{_why(steps, proofs) or _at(steps)}."
        case Verdict.OPEN if clocks.recovered and run.kind != "drill":
            return f"{came_up} in {format_duration(clocks.exec_s)}; it is not committed yet."
        case Verdict.OPEN:
            return f"The {name} is not over{_at(steps)}; this is what is known so far."


def consequence(
    run: RunRecord, verdict: Verdict, steps: Sequence[StepLine], left: Sequence[LeftOver]
) -> str:
    """What the reader must know next: where traffic is, and what still exists."""
    said = [_traffic(run, verdict, steps), *_went_without(steps)]
    if verdict is not Verdict.OPEN:
        said.append(_remains(left))
    return " ".join(sentence for sentence in said if sentence)


def _went_without(steps: Sequence[StepLine]) -> list[str]:
    """What an operator had it go on without: never silent (R12)."""
    return [
        f"{step.skipped_by} had it go on without {step.id}: {step.skipped_why.rstrip('. ')}."
        for step in steps
        if step.state is StepState.SKIPPED and step.skipped_by not in ("", "plan")
    ]


def _came_up(run: RunRecord, lost: Sequence[str]) -> str:
    if run.kind == "failback":
        return f"{run.service} came home from {run.target} and proved itself"
    if run.target == EXTERNAL:
        return f"Users of {run.service} were seen on the {EXTERNAL}"
    return f"With {_lost(lost)} lost, {run.service} came up on {run.target} and proved itself"


def _lost(lost: Sequence[str]) -> str:
    if len(lost) < 2:
        return lost[0] if lost else "the primary"
    return f"{', '.join(lost[:-1])} and {lost[-1]}"


def _loss(run: RunRecord, data: DataLoss) -> str:
    would = "would have been" if run.kind == "drill" else "was"
    if data.none_restored:
        return "nothing was restored: data stayed where it is"
    if data.loss_s is None:
        return f"how much data {would} lost is not known"
    if not data.worst:
        return "no data was lost with it"
    return f"at most {format_duration(data.loss_s)} of data {would} lost"


def _missed(clocks: Clocks, data: DataLoss) -> str:
    missed = []
    if clocks.within is False:
        missed.append(
            f"it took {format_duration(clocks.exec_s)} "
            f"where {format_duration(clocks.target_s)} are allowed"
        )
    missed += [
        f"{source.name} was {format_duration(source.loss_s)} old "
        f"where {format_duration(source.target_s)} are allowed"
        for source in data.sources
        if source.affected and source.within is False
        if source.loss_s is not None and source.target_s is not None
    ]
    return " and ".join(missed) or f"data was older than {format_duration(data.target_s)}"


def _why(steps: Sequence[StepLine], proofs: Sequence[ShownProof]) -> str:
    """Where it failed, and why: the wrong file if a proof names one, else the step's error."""
    stuck = next((step for step in steps if step.undo_error), None)
    failed = next((step for step in steps if step.error), stuck)
    if failed is None:
        return _at(steps)
    wrong = [file for proof in proofs if proof.step == failed.id for file in proof.files]
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        return f" in {failed.id}: {wrong[0]} is not what was recorded{more}"
    reason = (failed.error or failed.undo_error).rstrip(". ")
    if len(reason) > _LONGEST_REASON:
        reason = reason[:_LONGEST_REASON].rsplit(" ", 1)[0] + " …"
    return f" in {failed.id}: {reason}"


def _at(steps: Sequence[StepLine]) -> str:
    open_states = (StepState.INTENT, StepState.EFFECT_UNKNOWN)
    where = [
        step.id
        for step in steps
        if step.state in open_states or (step.segments and step.segments[-1].state in open_states)
    ]
    return f" in {' and '.join(where)}" if where else ""


def _traffic(run: RunRecord, verdict: Verdict, steps: Sequence[StepLine]) -> str:
    cutover = next((step for step in steps if step.action == "cutover"), None)
    hold = next((step for step in steps if step.action == "hold" and step.done_s is not None), None)
    if cutover is None:
        return f"Users: {_held(hold)}." if hold else ""
    if run.kind == "drill":
        moved = "only the drill's own names moved" if cutover.began_at else "no name moved"
        return f"Production was not touched: {moved}."
    match cutover.state:
        case StepState.DONE:
            return f"Traffic goes {'home' if run.kind == 'failback' else f'to {run.target}'}."
        case StepState.UNDONE:
            return f"Traffic: {cutover.undo_proof}."
        case StepState.EFFECT_UNKNOWN | StepState.INTENT | StepState.FAILED:
            said = f"Whether traffic was moved is not certain: see {cutover.id} below."
        case StepState.SKIPPED:
            said = "No name was moved: the cutover was left out."
        case StepState.PENDING:
            said = "No name was moved to the target."
    if hold is None or verdict is Verdict.OPEN or not _held(hold):
        return said
    return f"{said} Users: {_held(hold)}."


def _held(hold: StepLine) -> str:
    """Where the hold left users, or where they were released to."""
    return hold.undo_proof if hold.state is StepState.UNDONE else hold.proof


def _remains(left: Sequence[LeftOver]) -> str:
    unwanted = [item.what for item in left if not item.gone and not item.wanted]
    if unwanted:
        return f"Not proved to be gone: {', '.join(unwanted)}."
    if left and all(item.gone for item in left):
        return "Nothing it made is left over."
    return ""
