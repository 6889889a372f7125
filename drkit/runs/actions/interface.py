"""What an action is: the code behind a step, told everything it may use.

To add one: a file beside this one with `ACTION = Action(...)`, a line in `catalog.py`, its name in
`ActionName` (drkit/runs/book/schema.py), and a case in tests/unit/runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from drkit.clock import Clock
from drkit.compute.interface import Compute, Endpoint
from drkit.config.models import Config
from drkit.coordination.interface import Arbiter, Lease
from drkit.errors import NotInThisVersion, VerificationFailed
from drkit.events import Emit
from drkit.health.interface import Prober
from drkit.repository.repository import Repository
from drkit.runs.book.plan import Plan
from drkit.runs.records import JSON, Effect, Namespace, PaidResource
from drkit.stores.interface import Store
from drkit.traffic.interface import Switch
from drkit.verify.proof import Proof

__all__ = [
    "Action",
    "Context",
    "Done",
    "Effect",
    "Guard",
    "ProofsFailed",
    "ProofsPending",
    "StepCall",
]


@dataclass(frozen=True, slots=True)
class Done:
    """`output`: what later steps use. `proof`: in one line, why it is true."""

    proof: str
    output: Mapping[str, JSON] = field(default_factory=dict)
    proofs: tuple[Proof, ...] = ()


class ProofsFailed(VerificationFailed):
    """What came back is not what was recorded; `proofs` are all that were made, failed or not."""

    def __init__(self, message: str, *, hint: str, proofs: Sequence[Proof]) -> None:
        super().__init__(message, hint=hint)
        self.proofs = tuple(proofs)


class ProofsPending(ProofsFailed):
    """The way of the users does not show it: names and gateways may take a moment to follow."""


class Guard(Protocol):
    """The engine's hand on a step that runs."""

    @property
    def epoch(self) -> int:
        """The epoch that this run records when it moves traffic."""
        ...

    def check(self) -> None:
        """MUST be called directly before every effect: raises when this process, its lease, its
        epoch or this attempt is no longer the one that may act (R5, T2).
        """
        ...

    def pause(self, seconds: float) -> None:
        """Sleeps, and raises as soon as the step is to stop."""
        ...

    def note(self, payload: Mapping[str, JSON]) -> None:
        """Writes a note of this step into the journal; durable when it returns."""
        ...

    def notes(self, name: str) -> Sequence[Mapping[str, JSON]]:
        """What this step has noted under `name` so far, in every attempt, oldest first."""
        ...

    def lease(self) -> Lease:
        """The lease that the run holds now."""
        ...

    def paid(self) -> tuple[PaidResource, ...]:
        """What this run has asked money for so far."""
        ...


@dataclass(frozen=True, slots=True)
class StepCall:
    """One attempt at a step. `arguments`: its `with`, filled in. `outputs`: of the DONE steps."""

    run_id: str
    step_id: str
    attempt: int
    arguments: Mapping[str, JSON]
    outputs: Mapping[str, Mapping[str, JSON]]
    guard: Guard

    def text(self, name: str) -> str:
        """The argument as text. ValueError: an earlier step did not give it."""
        value = self.arguments.get(name)
        if not isinstance(value, str) or not value:
            raise ValueError(f"step {self.step_id} lacks its argument {name!r}")
        return value


def _nowhere(_source: str) -> None:
    """No Qdrant is known as the source's home."""


def _no_backup(_brought: Mapping[str, Mapping[str, JSON]]) -> str:
    raise NotInThisVersion("a backup within this run", hint="drkit backup makes a point")


@dataclass(frozen=True, slots=True)
class Context:
    """Everything that actions may use; built where adapters are built, for one run.

    `work_dir` is the run's own fresh folder. `switches` are those of the run's namespace, and
    `compute` is the target's. Waits are divided by `time_scale`; `observe_s` and `settle_s` are as
    they are to be. `breakpoint(step, point)` does nothing outside the sandbox. `qdrant_home(name)`
    is a source's own server and key; `back_up(brought)` makes a point with these sources cut where
    they were brought to, and answers its id.
    """

    plan: Plan
    config: Config
    clock: Clock
    emit: Emit
    work_dir: Path
    namespace: Namespace
    compute: Compute
    switches: tuple[Switch, ...]
    arbiter: Arbiter
    holder: str
    prober: Prober
    repository: Callable[[], Repository]
    stores: tuple[Store, ...]
    api_key: Callable[[], str | None]
    primary: Endpoint | None
    gateway_url: str | None
    public_record: str | None
    restore_qdrant_to: Callable[[str], tuple[str, str | None] | None]
    time_scale: float
    observe_s: float
    settle_s: float
    breakpoint: Callable[[str, str], None]
    write_evidence: Callable[[], Mapping[str, str]]
    qdrant_home: Callable[[str], tuple[str, str | None] | None] = _nowhere
    back_up: Callable[[Mapping[str, Mapping[str, JSON]]], str] = _no_backup


Run = Callable[[StepCall, Context], Done]
Look = Callable[[StepCall, Context], Done | None]
Undo = Callable[[StepCall, Done | None, Context], str]


@dataclass(frozen=True, slots=True)
class Action:
    """A name, a version that plans freeze (R6), and up to three functions.

    `run` does it and MUST be safe to repeat. `look` answers what is already there, None if
    nothing is; every step whose effect is paid, fences or moves traffic has one. `undo` takes back
    what `run` began (its result is None if it never returned), checks that it is gone, and says
    so in one line. All raise `DrkitError`s.

    `own`: what `undo` takes back is the run's alone, and is taken back whoever serves by then.

    What lints ask: `proves` that a site is the real thing; `fences` what may still write; `data`:
    it chooses or writes what users own; `to_site`: it leads traffic to a site.
    """

    name: str
    version: int
    effect: Effect
    run: Run
    look: Look | None = None
    undo: Undo | None = None
    own: bool = False
    proves: bool = False
    fences: bool = False
    data: bool = False
    to_site: bool = False
