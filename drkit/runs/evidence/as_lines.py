"""Evidence as a few lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import dropwhile

from drkit.runs.evidence.values import Clocks, DataLoss, Evidence, Verdict
from drkit.units import format_duration

_MOST_FILES = 5


def evidence_lines(evidence: Evidence) -> list[str]:
    """Result, both clocks, phases, data, proofs with every failure, cost, what is left over.

    Of a run that is not over: what was proved, what it cost so far, and what there is.
    """
    over = evidence.verdict not in (Verdict.OPEN, Verdict.NEEDS_OPERATOR)
    lines = [f"{evidence.verdict.value.upper()}: {evidence.headline}"]
    if evidence.consequence:
        lines.append(f"  {evidence.consequence}")
    lines += [f"  next: {step.hint}" for step in evidence.failed_steps if step.hint]
    figures = _figures(evidence)
    shown = figures if over else dropwhile(lambda figure: figure[0] != "verified", figures)
    lines += [f"  {label:<11}{value}" for label, value in shown]
    if evidence.sandbox and over:
        lines.append("  SANDBOX    a rehearsal with stand-ins; it counts for nothing real")
        for each in evidence.overrides:
            lines.append(f"    changed  {each.name}: {each.sandbox} (else {each.real})")
    return lines


def _figures(evidence: Evidence) -> Iterator[tuple[str, str]]:
    executed, total = _clock_words(evidence.clocks)
    yield "T_exec", executed
    yield "T_total", total
    for phase in evidence.phases:
        allowed = f" of {format_duration(phase.budget_s)}" if phase.budget_s else ""
        over = ", OVER" if phase.within is False else ""
        yield f"  {phase.name}", f"{format_duration(phase.spent_s)}{allowed}{over}"
    data = evidence.data
    yield "RPO", _loss_words(data)
    passed = sum(proof.passed for proof in evidence.proofs)
    verified = f"{passed} of {len(evidence.proofs)} proofs passed" if evidence.proofs else "nothing"
    yield "verified", verified
    for proof in evidence.proofs:
        if not proof.passed:
            yield "  failed", f"{proof.check} of {proof.subject}: {proof.detail}"
            for file in proof.files[:_MOST_FILES]:
                yield "    file", file
            if len(proof.files) > _MOST_FILES:
                yield "", f"and {len(proof.files) - _MOST_FILES} more files"
    if evidence.costs:
        paid = " at the configured prices; nothing was paid" if evidence.sandbox else ""
        yield "cost", f"${evidence.total_usd:.4f}{paid}"
    kept = [
        f"{each.what}: {'in use' if each.wanted else 'still there'}, {each.detail}"
        for each in evidence.left_over
        if not each.gone
    ]
    yield "left over", "; ".join(kept) or "nothing"


def _clock_words(clocks: Clocks) -> tuple[str, str]:
    allowed = f"{format_duration(clocks.target_s)} allowed"
    if not clocks.recovered:
        tried = format_duration(clocks.exec_s)
        return f"not back in service; tried for {tried} ({allowed})", "not back in service"
    over = ", OVER" if clocks.within is False else ""
    total = clocks.total_s
    return (
        f"{format_duration(clocks.exec_s)} ({allowed}{over})",
        "not measured"
        if total is None
        else f"{format_duration(total)} from the first failed probe",
    )


def _loss_words(data: DataLoss) -> str:
    if data.none_restored:
        return "nothing was restored: data stayed where it is"
    if data.loss_s is None:
        return f"not known ({format_duration(data.target_s)} allowed)"
    loss = format_duration(data.loss_s) if data.worst else "none"
    worst = f", worst: {data.worst}" if data.worst else ""
    return f"{loss} ({format_duration(data.target_s)} allowed{worst})"
