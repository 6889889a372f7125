"""What a run is and what it wrote: values only, as the journal keeps them and reports read them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Literal, TypeAlias

JSON: TypeAlias = "bool | int | float | str | Sequence[JSON] | Mapping[str, JSON] | None"

Namespace = Literal["production", "drill"]
RunKind = Literal["failover", "switchover", "failback", "drill", "restore"]
EXTERNAL = "external API"
"""Where a run leads that only sends users to the declared external API, and the site that the role
record then names. No site or target can be called so: a name has no spaces.
"""

EntryKind = Literal[
    "state", "intent", "done", "failed", "skipped", "undone", "note", "resumed", "replanned"
]


class Effect(Enum):
    """What a step does to the world, in the order of how much care it needs."""

    READ = "read"
    WRITE = "write"
    PAID = "paid"
    FENCE = "fence"
    TRAFFIC = "traffic"

    @property
    def must_look(self) -> bool:
        """It may not be done twice: what is already there is looked for before each attempt."""
        return self in (Effect.PAID, Effect.FENCE, Effect.TRAFFIC)


class RunState(Enum):
    PLANNED = "PLANNED"
    PREFLIGHT = "PREFLIGHT"
    RUNNING = "RUNNING"
    VERIFIED = "VERIFIED"
    CUTOVER = "CUTOVER"
    OBSERVING = "OBSERVING"
    COMMITTED = "COMMITTED"
    NEEDS_OPERATOR = "NEEDS_OPERATOR"
    ROLLING_BACK = "ROLLING_BACK"
    ROLLED_BACK = "ROLLED_BACK"
    ROLLBACK_FAILED = "ROLLBACK_FAILED"
    EVIDENCE = "EVIDENCE"
    TEARDOWN = "TEARDOWN"
    DONE = "DONE"
    INTERRUPTED = "INTERRUPTED"

    @property
    def ended(self) -> bool:
        """Nothing more happens in it: the next run may open, and `runs resume` does nothing."""
        return self in _ENDED


_ENDED = frozenset({RunState.COMMITTED, RunState.ROLLED_BACK, RunState.DONE, RunState.INTERRUPTED})


class StepState(Enum):
    """EFFECT_UNKNOWN: its intent is written and its result is not; only a look can tell (R5)."""

    PENDING = "PENDING"
    INTENT = "INTENT"
    EFFECT_UNKNOWN = "EFFECT_UNKNOWN"
    DONE = "DONE"
    FAILED = "FAILED"
    SKIPPED = "SKIPPED"
    UNDONE = "UNDONE"


AskFor = Literal["stop", "abort", "rollback", "retarget"]


@dataclass(frozen=True, slots=True)
class Ask:
    """What an operator wants of an open run; it stays until the run has done it.

    stop     no further step begins. abort: the steps that run are told to stop, too.
    rollback what began is undone; with `leave`, a reason, the run ends also if something cannot
             be undone: that is named, and left behind.
    retarget what was taken on the old target is given back, and the run goes on by `plan`, the new
             plan as JSON.
    """

    what: AskFor
    who: str
    plan: str | None = None
    leave: str | None = None


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One execution of a runbook.

    `epoch`: the one it records when it moves traffic. `local_only`: an intent of it is in no
    store, so that no other machine can take it over (R3). `pid`: the process that executes it now.
    `outcome`: None while it is open, then "committed", "passed", "failed", "rolled back" or
    "interrupted". `interrupted_by`: the failover that a drill has to give way to (R4).
    `unattended`: nobody typed it. `asked`: what an operator wants of it that is not done yet.
    `machine`: the one it belongs to; `generation`: how often another one took it over.
    """

    id: str
    service: str
    namespace: Namespace
    kind: RunKind
    runbook: str
    target: str
    state: RunState
    plan_checksum: str
    epoch: int | None
    sandbox: bool
    local_only: bool
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    first_failed_probe_at: datetime | None
    point_cut_at: datetime | None
    pid: int | None
    drkit_version: str
    outcome: str | None
    interrupted_by: str | None = None
    opened_by: str | None = None
    unattended: bool = False
    asked: Ask | None = None
    machine: str | None = None
    generation: int = 0

    def led_to(self, site: str) -> bool:
        """Whether it moved the service to that target, and is not taken back."""
        if self.state in (RunState.ROLLING_BACK, RunState.ROLLED_BACK):
            return False
        moves = self.kind in ("failover", "switchover") and site != EXTERNAL
        return moves and self.target == site


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a journal. `elapsed_s` counts from the run's creation, on a clock that does not
    jump. Payloads by kind:

    state    {"from", "to"} and what explains it ("reason", "hint")
    intent   {"action", "version", "effect", "with"}; {"undo": true} when it is about to be undone
    done     {"output", "proof", "proofs", "adopted"}; adopted: found by looking, not done again
    failed   {"error", "hint", "kind", "retryable", "proofs"}; kind is the error's class
    skipped  {"reason", "who"}
    undone   {"proof"}
    note     {"paid": {...}} a paid resource, see `paid_resources`; {"effect_unknown": why};
             {"undo_failed": why, "hint"}; {"text": ...} anything else a person should read;
             {"left_behind": [what], "who", "reason"} an operator ended the run without it;
             {"approved": who} the step may begin; {"asked": what, "who"} see `Ask`;
             {"taken_over": {"from", "to", "generation"}} the run belongs to another machine now;
             {"former_holder": true} effects wait for what a former process, or a step that nobody
             waits for any more, sent (T3), {"outwaited": true} no longer
    resumed  {"pid", "unknown": [ids of steps whose effect is unknown]}
    replanned {"reset": [ids of steps that begin anew], "why"}; with {"from", "to": checksums,
             "target", "who", "kept": [ids]} when the plan is another one from here on
    """

    seq: int
    at: datetime
    elapsed_s: float
    step: str | None
    attempt: int
    kind: EntryKind
    payload: Mapping[str, JSON]


PaidState = Literal["REQUESTED", "ADOPTED", "CONFIRMED_GONE"]


@dataclass(frozen=True, slots=True)
class PaidResource:
    """Something that costs money, recorded before it was asked for (R9).

    `key` is step/candidate/attempt. ADOPTED: it exists and is ours. CONFIRMED_GONE: it was
    refused, never came to be, or was destroyed and looked for in vain.
    """

    key: str
    state: PaidState
    what: str
    usd_per_hour: float
    instance_id: str | None
    requested_at: datetime
    gone_at: datetime | None

    def usd_until(self, now: datetime) -> float:
        """What it has cost, counted from the request; nothing if it never came to be."""
        if self.instance_id is None:
            return 0.0
        return (
            self.usd_per_hour * ((self.gone_at or now) - self.requested_at).total_seconds() / 3600
        )


def paid_resources(entries: Iterable[Entry]) -> tuple[PaidResource, ...]:
    """Every paid resource of the run as the journal last knew it, in the order of the requests."""
    found: dict[str, PaidResource] = {}
    for entry in entries:
        paid = entry.payload.get("paid") if entry.kind == "note" else None
        if not isinstance(paid, Mapping):
            continue
        key, state = str(paid["key"]), paid["state"]
        former = found.get(key)
        instance_id = paid.get("instance_id") or (former.instance_id if former else None)
        assert state in ("REQUESTED", "ADOPTED", "CONFIRMED_GONE")
        found[key] = PaidResource(
            key=key,
            state=state,  # type: ignore[arg-type]
            what=str(paid["what"]),
            usd_per_hour=float(str(paid["usd_per_hour"])),
            instance_id=None if instance_id is None else str(instance_id),
            requested_at=former.requested_at if former else entry.at,
            gone_at=entry.at if state == "CONFIRMED_GONE" else None,
        )
    return tuple(found.values())


def former_of(entries: Iterable[Entry]) -> tuple[str, str | None, str | None] | None:
    """Site, URL and run of who served before the run recorded itself; None: it did not."""
    for entry in entries:
        noted = entry.payload.get("former") if entry.kind == "note" else None
        if isinstance(noted, Mapping):
            url, run_id = noted.get("endpoint_url"), noted.get("run_id")
            return str(noted["site"]), str(url) if url else None, str(run_id) if run_id else None
    return None
