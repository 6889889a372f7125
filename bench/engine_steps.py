"""A run of steps that do nothing, on a real disk: what is left is the engine's own share.

State, arbiter and store lie below `root`: journal lines are synced, intents sealed, and the lease
is renewed before each effect, as in any run.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from drkit.clock import SystemClock
from drkit.config.stores import FolderStore
from drkit.coordination.arbiter import PlacedArbiter
from drkit.coordination.folder import FolderPlace
from drkit.coordination.sightings import FolderSightings
from drkit.events import discard
from drkit.repository.format.sealing import MasterKey
from drkit.runs.actions.interface import Action, Done
from drkit.runs.book.plan import Plan, PlannedStep
from drkit.runs.engine import execute
from drkit.runs.journal.journal import Journal
from drkit.runs.records import Effect, RunState
from drkit.secrets.catalog import open_secrets
from drkit.state.database import open_database
from drkit.stores.catalog import open_store


def measure(root: Path, effect: Effect, steps: int) -> float:
    """Milliseconds a step, of a chain of `steps`."""
    clock = SystemClock()
    store = open_store(
        "folder",
        FolderStore(kind="folder", role="primary", path=str(root / "store")),
        open_secrets(root),
    )
    key = MasterKey.generate()

    def copy(name: str, content: bytes) -> bool:
        sealed = key.seal(content)
        store.put(name, sealed, size_bytes=len(sealed))
        return True

    place = FolderPlace(root / "arbiter")
    context = SimpleNamespace(
        arbiter=PlacedArbiter(place, FolderSightings(root / "seen"), clock),
        holder="bench/run",
        clock=clock,
        emit=discard,
        time_scale=1.0,
        breakpoint=lambda _step, _point: None,
        write_evidence=dict,
    )
    action = Action(
        "acquire", 1, effect, lambda _call, _context: Done("done"), lambda _call, _context: None
    )
    journal = Journal(open_database(root / "state.sqlite"), clock, copy)
    run = journal.open_run(_plan(effect, steps), sandbox=False)
    began_s = time.perf_counter()
    ended = execute(journal, run.id, {"acquire": action}, cast(Any, context))
    took_s = time.perf_counter() - began_s
    assert (ended.state, ended.local_only) == (RunState.COMMITTED, False)
    return 1000 * took_s / steps


def _plan(effect: Effect, steps: int) -> Plan:
    first = PlannedStep(
        id="step_0",
        phase="other",
        action="acquire",
        version=1,
        effect=effect,
        arguments={},
        needs=(),
        budget_min=None,
        timeout_s=600,
        retries=0,
        on_failure="stop",
        skip=None,
        keep=None,
    )
    chain = [first] + [
        replace(first, id=f"step_{number}", needs=(f"step_{number - 1}",))
        for number in range(1, steps)
    ]
    return Plan(
        runbook="bench",
        kind="failover",
        namespace="production",
        service="bench",
        primary="here",
        target="there",
        lost=(),
        point="latest",
        rto_min=35,
        rpo_min=60,
        usd_per_hour=None,
        usd_per_run=None,
        ttl_min=60,
        commit_policy="commit",
        commit_after_min=0,
        drkit_version="0",
        steps=tuple(chain),
    )


if __name__ == "__main__":
    place, effect, steps, answer = sys.argv[1:]
    Path(answer).write_text(str(measure(Path(place), Effect(effect), int(steps))))
