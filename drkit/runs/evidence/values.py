"""What a run's evidence says, as values: everything the page, the JSON and the terminal show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Protocol

from drkit.runs.records import JSON, StepState


class Verdict(Enum):
    """How a run ended, in the words of a reader who was not there."""

    PASSED = "passed"
    MISSED_TARGET = "missed its target"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    ROLLED_BACK = "rolled back"
    ROLLBACK_FAILED = "rollback failed"
    NEEDS_OPERATOR = "needs an operator"
    OPEN = "not over"


@dataclass(frozen=True, slots=True)
class Segment:
    """One attempt at a step, or at undoing it, in seconds since the run began.

    `state`: what it led to; INTENT while it runs, EFFECT_UNKNOWN where no result was recorded.
    """

    attempt: int
    begin_s: float
    end_s: float
    state: StepState


@dataclass(frozen=True, slots=True)
class StepLine:
    """One step. `began_at` and `ended_at` are the journal's own times of its first intent and its
    last result, undoing it left aside. `adopted`: its effect was found by looking, not made again.
    `error` is that of the last attempt, and empty if that one succeeded.
    """

    id: str
    phase: str
    action: str
    state: StepState
    budget_min: float | None
    segments: tuple[Segment, ...]
    undo: tuple[Segment, ...]
    began_at: datetime | None
    ended_at: datetime | None
    done_s: float | None
    proof: str
    adopted: bool
    error: str
    hint: str
    undo_proof: str
    undo_error: str
    skipped_why: str
    skipped_by: str

    @property
    def spent_s(self) -> float:
        """From its first intent to its last result, waits between attempts included."""
        return self.segments[-1].end_s - self.segments[0].begin_s if self.segments else 0.0


@dataclass(frozen=True, slots=True)
class Gap:
    """A time in which no process of drkit worked on the run, in seconds since it began."""

    begin_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class PhaseLine:
    """One phase: `spent_s` is the wall time of the union of its steps' spans."""

    name: str
    budget_s: float | None
    spent_s: float
    steps: tuple[str, ...]

    @property
    def within(self) -> bool | None:
        """None where there is no budget, or where nothing of the phase was done."""
        return None if self.budget_s is None or not self.spent_s else self.spent_s <= self.budget_s


@dataclass(frozen=True, slots=True)
class Clocks:
    """Both clocks of the RTO, in seconds. `recovered` tells whether they stopped at a verified
    service; if not, they say how long the run tried. `total_s` and `before_s` (first failed probe
    to run) are None when no failed probe was recorded.
    """

    recovered: bool
    exec_s: float
    before_s: float | None
    target_s: float
    ended_with: str

    @property
    def total_s(self) -> float | None:
        return None if self.before_s is None else self.before_s + self.exec_s

    @property
    def within(self) -> bool | None:
        return self.exec_s <= self.target_s if self.recovered else None


@dataclass(frozen=True, slots=True)
class SourceLine:
    """One source of the point: what of it was lost, and what was brought back."""

    name: str
    kind: str
    lives_on: str
    cut_at: datetime | None
    loss_s: float | None
    target_s: float | None
    affected: bool
    restored: bool
    into: tuple[str, ...]
    files: int | None
    size_bytes: int | None
    took_s: float | None

    @property
    def within(self) -> bool | None:
        if self.loss_s is None or self.target_s is None:
            return None
        return self.loss_s <= self.target_s


@dataclass(frozen=True, slots=True)
class DataLoss:
    """RPO: the worst source that has a limit decides. `loss_s` None: no point was chosen; where
    `none_restored`, because data stayed where it is.

    `stores` held the point; `weights` says in a line what came from the mirror.
    """

    loss_s: float | None
    target_s: float
    worst: str
    sources: tuple[SourceLine, ...]
    snapshot_id: str
    stores: tuple[str, ...]
    weights: str
    none_restored: bool = False

    @property
    def within(self) -> bool | None:
        if self.loss_s is None:
            return None
        return self.loss_s <= self.target_s and all(
            source.within is not False for source in self.sources if source.affected
        )


@dataclass(frozen=True, slots=True)
class ShownProof:
    """One thing that was verified, by which step. `files` are what is wrong, by path."""

    step: str
    check: str
    subject: str
    passed: bool
    detail: str
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CostLine:
    """One instance: from its request until it was gone (None: it is still there), and the sum."""

    instance: str
    what: str
    usd_per_hour: float
    alive_s: float
    since: datetime
    until: datetime | None

    @property
    def usd(self) -> float:
        return self.usd_per_hour * self.alive_s / 3600


@dataclass(frozen=True, slots=True)
class LeftOver:
    """One thing the run made: `proved` gone, or kept for a reason, or not known to be gone."""

    what: str
    gone: bool
    detail: str
    wanted: bool = False


@dataclass(frozen=True, slots=True)
class JournalLine:
    """One journal entry with its own times, and its payload in a line."""

    seq: int
    at: datetime
    elapsed_s: float
    since_start_s: float
    step: str | None
    attempt: int
    kind: str
    text: str
    payload: Mapping[str, JSON]


class DeclaredOverride(Protocol):
    """One setting that the sandbox changed: its name, its real value and the one it had here."""

    @property
    def name(self) -> str: ...
    @property
    def real(self) -> str: ...
    @property
    def sandbox(self) -> str: ...


@dataclass(frozen=True, slots=True)
class ShownOverride:
    name: str
    real: str
    sandbox: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """The whole report of one run. Built by `build_evidence`; nothing in it is a guess: what the
    journal does not say is None or empty.
    """

    run_id: str
    verdict: Verdict
    headline: str
    consequence: str
    kind: str
    service: str
    namespace: str
    runbook: str
    target: str
    lost: tuple[str, ...]
    state: str
    outcome: str | None
    sandbox: bool
    local_only: bool
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    first_failed_probe_at: datetime | None
    generated_at: datetime
    plan_checksum: str
    epoch: int | None
    drkit_version: str
    action_versions: tuple[tuple[str, int], ...]
    length_s: float
    steps: tuple[StepLine, ...]
    phases: tuple[PhaseLine, ...]
    gaps: tuple[Gap, ...]
    clocks: Clocks
    data: DataLoss
    proofs: tuple[ShownProof, ...]
    costs: tuple[CostLine, ...]
    left_over: tuple[LeftOver, ...]
    overrides: tuple[ShownOverride, ...]
    journal: tuple[JournalLine, ...]

    @property
    def passed(self) -> bool:
        return self.verdict is Verdict.PASSED

    @property
    def failed_steps(self) -> tuple[StepLine, ...]:
        """Steps that failed, undone ones included, in the order of the plan."""
        return tuple(step for step in self.steps if step.error)

    @property
    def not_exercised(self) -> tuple[StepLine, ...]:
        """Steps that were left out on purpose, or that the run did not come to."""
        return tuple(
            step for step in self.steps if step.state in (StepState.SKIPPED, StepState.PENDING)
        )

    @property
    def total_usd(self) -> float:
        return sum(cost.usd for cost in self.costs)
