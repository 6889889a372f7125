"""What a state of the model is made of: small tuples, so that millions of them can be compared.

A tick is one lease time (30 s). Whatever lasts longer than all waits is one `long`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

TICK_S = 30.0
PRIMARY, EXTERNAL = "primary", "external"

Sender = tuple[int, int]
"""(drkit, step) that waits for the answer; step -1: an undo."""


class Request(NamedTuple):
    """May leave and have its effect within `life` ticks from the last check before it. `waiter`
    None: whoever
    sent it has stopped waiting; `sender` -1: its process has ended."""

    kind: str  # create, destroy, point
    run: int
    arg: str
    life: int
    sender: int
    waiter: Sender | None


class World(NamedTuple):
    """`users`: where traffic leads. `boxes`: machines that exist and cost money."""

    primary: bool = True
    users: str = PRIMARY
    boxes: tuple[str, ...] = ()
    sent: tuple[Request, ...] = ()
    sight: str = "clear"
    witness: bool = True


class Arbiter(NamedTuple):
    """`lease`: (drkit, run). `seen`: for each drkit the ticks since it first saw the present
    lease, at most 1. `role`: (epoch, site, run)."""

    up: bool = True
    lease: tuple[int, int] | None = None
    seen: tuple[int, int] = (0, 0)
    role: tuple[int, str, int | None] = (1, PRIMARY, None)


class Run(NamedTuple):
    """As the journal has it. `steps`: for each its state and the rank in which it began (-1: it
    did not). `book`: the database it is in. Ranks are kept of what
    can be undone. `proof`: of `box`.
    `intents`: bits of steps with an intent, or the intent of an undo, and no result. `former`: a
    former holder is noted and was not outwaited yet."""

    book: int
    state: str
    steps: tuple[tuple[str, int], ...]
    epoch: int | None = None
    claim: int | None = None
    paid: str = ""
    box: str = ""
    proof: str = ""
    intents: int = 0
    former: bool = False


class Proc(NamedTuple):
    """A drkit. `run`: the one it executes. `held`: its lease object, "now" while it is the
    present one. `wait`: ticks until nothing of a former holder can arrive. `pcs`: where the
    thread of each step stands: I its intent is written, K1, K0 looks (for so many ticks more),
    S waits for an answer. `undo`: (step, where that stands)."""

    run: int | None = None
    phase: str = ""  # walk, stop, undo
    fate: str = ""
    held: str = ""
    wait: int = 0
    pcs: tuple[str, ...] = ()
    undo: tuple[int, str] | None = None
    tried: int = 0
    left: bool = False
    leads: bool = False


class Mind(NamedTuple):
    """Health and decision as numbers of interned values; what an operator said."""

    health: int
    decision: int | None
    paused: bool = False
    cooldown: bool = False
    unattended: int = 0


class Left(NamedTuple):
    """What may still happen."""

    falls: int
    returns: int
    faults: int
    acts: int
    crashes: tuple[int, int]
    stalls: int
    blinks: int
    longs: int
    runs: int


class State(NamedTuple):
    world: World
    arbiter: Arbiter
    runs: tuple[Run, ...]
    procs: tuple[Proc, Proc]
    mind: Mind
    left: Left


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much may happen, and where: `mode` as configured; `shared`: both drkits use one
    database, else each has its own. `known`: the service was seen healthy before. `slow`: between
    an intent and the guard anything may come, even where nothing is waited for."""

    mode: str = "approve"
    shared: bool = True
    known: bool = True
    falls: int = 1
    returns: int = 1
    faults: int = 2
    acts: int = 3
    crashes: tuple[int, int] = (1, 1)
    stalls: int = 1
    blinks: int = 1
    longs: int = 1
    runs: int = 2
    typed: bool = True
    slow: bool = False
    steps: tuple[str, ...] = (
        "hold",
        "preflight",
        "acquire",
        "fence",
        "restore",
        "verify",
        "cutover",
        "commit",
    )


@dataclass(frozen=True, slots=True)
class Broken:
    rule: str
    why: str
