"""The result in one sentence, and what follows from it in another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from drkit.runs.evidence.values import (
    Clocks,
    DataLoss,
    Evidence,
    LeftOver,
    ShownProof,
    StepLine,
    Verdict,
)
from drkit.runs.records import JSON, Entry, RunRecord, RunState, StepState
from drkit.units import format_duration


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
            return Verdict.RUNNING


def headline(
    run: RunRecord,
    verdict: Verdict,
    steps: Sequence[StepLine],
    clocks: Clocks,
    data: DataLoss,
    lost: Sequence[str],
) -> str:
    """One sentence: what was lost, where it came up, whether it works, what data was lost."""
    name = "drill" if run.kind == "drill" else "failover"
    match verdict:
        case Verdict.PASSED:
            return (
                f"With {_lost(lost)} lost, {run.service} came up on {run.target} and proved itself "
                f"in {format_duration(clocks.exec_s)}; {_loss(run, data)}."
            )
        case Verdict.MISSED_TARGET:
            return (
                f"With {_lost(lost)} lost, {run.service} came up on {run.target} and proved "
                f"itself, but {_missed(clocks, data)}; {_loss(run, data)}."
            )
        case Verdict.FAILED:
            return f"The {name} failed{_where(steps)}."
        case Verdict.INTERRUPTED:
            return f"The {name} was interrupted{_at(steps)} and proves nothing."
        case Verdict.ROLLED_BACK:
            return f"The {name} of {run.service} to {run.target} was rolled back{_because(steps)}."
        case Verdict.ROLLBACK_FAILED:
            return f"The {name} failed{_where(steps)}, and not all of it could be undone."
        case Verdict.NEEDS_OPERATOR:
            return f"The {name} waits for a person{_at(steps)}{_because(steps)}."
        case Verdict.RUNNING:
            return f"The {name} is not over{_at(steps)}; what follows is what is known so far."


def consequence(
    run: RunRecord, verdict: Verdict, steps: Sequence[StepLine], left: Sequence[LeftOver]
) -> str:
    """What the reader must know next: where traffic is, and what still exists."""
    said = [_traffic(run, verdict, steps)]
    if verdict is not Verdict.RUNNING:
        said.append(_remains(left))
    return " ".join(sentence for sentence in said if sentence)


def summary_lines(evidence: Evidence) -> list[str]:
    """The report for a terminal: result, both clocks, phases, data, proofs, cost, left over."""
    lines = [f"{evidence.verdict.value.upper()}  {evidence.headline}"]
    if evidence.consequence:
        lines.append(f"  {evidence.consequence}")
    for step in evidence.failed_steps:
        if step.hint:
            lines.append(f"  next: {step.hint}")
    lines += [f"  {label:<11}{value}" for label, value in _figures(evidence)]
    if evidence.sandbox:
        lines.append("  SANDBOX    a rehearsal on this machine; it counts for nothing real")
        lines += [
            f"    {override.name}: {override.sandbox} here, {override.real} in reality"
            for override in evidence.overrides
        ]
    return lines


def clock_words(clocks: Clocks) -> tuple[str, str]:
    """T_exec and T_total, each with what it is compared with."""
    allowed = f"{format_duration(clocks.target_s)} allowed"
    if not clocks.recovered:
        stopped = f"not reached; it tried for {format_duration(clocks.exec_s)}"
        return f"{stopped} ({allowed})", "not reached"
    total = (
        "not measured (no failed probe is recorded)"
        if clocks.total_s is None
        else format_duration(clocks.total_s)
    )
    return f"{format_duration(clocks.exec_s)} ({allowed})", total


def proof_words(proofs: Sequence[ShownProof]) -> str:
    passed = sum(proof.passed for proof in proofs)
    if not proofs:
        return "nothing was verified"
    if passed == len(proofs):
        return f"all {passed} passed" if passed > 1 else "1 passed"
    return f"{len(proofs) - passed} of {len(proofs)} failed"


def _figures(evidence: Evidence) -> list[tuple[str, str]]:
    executed, total = clock_words(evidence.clocks)
    figures = [("T_exec", executed), ("T_total", total)]
    figures.append(
        (
            "phases",
            ", ".join(
                f"{phase.name} {format_duration(phase.spent_s)}"
                + (f"/{format_duration(phase.budget_s)}" if phase.budget_s else "")
                + (" OVER" if phase.within is False else "")
                for phase in evidence.phases
            ),
        )
    )
    data = evidence.data
    allowed = f"{format_duration(data.target_s)} allowed"
    loss = "not known: no point was chosen" if data.loss_s is None else format_duration(data.loss_s)
    figures.append(("RPO", f"{loss} ({allowed}{f', worst: {data.worst}' if data.worst else ''})"))
    figures.append(("proofs", proof_words(evidence.proofs)))
    for proof in evidence.proofs:
        if not proof.passed:
            figures.append(("  failed", f"{proof.check} {proof.subject}: {proof.detail}"))
            figures += [("    file", file) for file in proof.files]
    if evidence.costs:
        figures.append(("cost", f"${evidence.total_usd:.4f}"))
    kept = [left for left in evidence.left_over if not left.gone]
    gone = "none, proved" if evidence.left_over else "nothing was made"
    figures.append(("left over", "; ".join(f"{left.what}" for left in kept) or gone))
    return figures


def _lost(lost: Sequence[str]) -> str:
    if len(lost) < 2:
        return lost[0] if lost else "the primary"
    return f"{', '.join(lost[:-1])} and {lost[-1]}"


def _loss(run: RunRecord, data: DataLoss) -> str:
    if not any(source.affected for source in data.sources):
        return "no data lived there"
    would = "would have been" if run.kind == "drill" else "was"
    if data.loss_s is None:
        return f"how much data {would} lost is not known"
    return f"at most {format_duration(data.loss_s)} of data {would} lost"


def _missed(clocks: Clocks, data: DataLoss) -> str:
    missed = []
    if clocks.within is False:
        missed.append(
            f"it took {format_duration(clocks.exec_s)} of the "
            f"{format_duration(clocks.target_s)} allowed"
        )
    if data.within is False:
        worst = next((s for s in data.sources if s.name == data.worst), None)
        target_s = worst.target_s if worst and worst.target_s is not None else data.target_s
        missed.append(
            f"{data.worst or 'its data'} was older than the {format_duration(target_s)} allowed"
        )
    return " and ".join(missed)


def _where(steps: Sequence[StepLine]) -> str:
    failed = next((step for step in steps if step.error), None)
    if failed is not None:
        return f" in {failed.id}: {failed.error.rstrip('.')}"
    unknown = next((step for step in steps if step.state is StepState.EFFECT_UNKNOWN), None)
    return f" in {unknown.id}, which left no result" if unknown else ""


def _at(steps: Sequence[StepLine]) -> str:
    open_steps = [s.id for s in steps if s.state in (StepState.INTENT, StepState.EFFECT_UNKNOWN)]
    return f" in {' and '.join(open_steps)}" if open_steps else ""


def _because(steps: Sequence[StepLine]) -> str:
    failed = next((step for step in steps if step.error), None)
    return f", because {failed.id} failed: {failed.error.rstrip('.')}" if failed else ""


def _traffic(run: RunRecord, verdict: Verdict, steps: Sequence[StepLine]) -> str:
    cutover = next((step for step in steps if step.action == "cutover"), None)
    if cutover is None:
        return ""
    if run.kind == "drill":
        moved = "only the drill's own names moved" if cutover.began_at else "no name moved"
        return f"Production was not touched: {moved}."
    match cutover.state:
        case StepState.DONE:
            return f"Traffic goes to {run.target}."
        case StepState.UNDONE:
            said = "Traffic had been moved and was moved back."
        case StepState.EFFECT_UNKNOWN | StepState.INTENT | StepState.FAILED:
            said = f"Whether traffic was moved is not certain: see {cutover.id} below."
        case StepState.SKIPPED:
            said = "No name was moved: the cutover was left out."
        case StepState.PENDING:
            said = "No name was moved to the target."
    held = next((step for step in steps if step.action == "hold"), None)
    if held and held.state is StepState.DONE and verdict is not Verdict.RUNNING:
        said += f" The hold is still on: {held.proof or 'users are not sent to the primary'}."
    return said


def _remains(left: Sequence[LeftOver]) -> str:
    unwanted = [item.what for item in left if not item.gone and not item.wanted]
    if unwanted:
        return f"Not proved to be gone: {', '.join(unwanted)}."
    if left and all(item.gone for item in left):
        return "Nothing it made is left over."
    return ""


def entry_words(entry: Entry) -> str:
    """A journal entry's payload in one line."""
    payload = entry.payload
    match entry.kind:
        case "state":
            reason = f": {payload['reason']}" if payload.get("reason") else ""
            return f"{payload.get('to', '')}{reason}"
        case "intent":
            return "about to undo" if payload.get("undo") else f"about to {payload.get('action')}"
        case "done":
            adopted = " (found, not made again)" if payload.get("adopted") else ""
            return f"{payload.get('proof') or 'done'}{adopted}"
        case "failed":
            return str(payload.get("error", ""))
        case "skipped":
            who = f" ({payload['who']})" if payload.get("who") else ""
            return f"{payload.get('reason', '')}{who}"
        case "undone":
            return str(payload.get("proof", ""))
        case "resumed":
            return f"taken up by process {payload.get('pid')}"
        case "note":
            return _note_words(payload)


def _note_words(payload: Mapping[str, JSON]) -> str:
    if isinstance(paid := payload.get("paid"), Mapping):
        return " ".join(
            str(paid[key]) for key in ("state", "what", "instance_id") if paid.get(key)
        ).lower()
    for key, prefix in (
        ("effect_unknown", "effect unknown: "),
        ("undo_failed", "could not be undone: "),
        ("text", ""),
    ):
        if payload.get(key):
            return f"{prefix}{payload[key]}"
    return ", ".join(f"{key} {value}" for key, value in payload.items())
