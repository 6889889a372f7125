"""What lints ask that no file says, from what this machine remembers of its runs."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from drkit.clock import Clock, SystemClock
from drkit.config.local_paths import with_absolute_paths
from drkit.config.models import Config
from drkit.errors import DrkitError
from drkit.events import discard
from drkit.runs.journal.journal import Journal
from drkit.runs.lints.values import Known
from drkit.runs.records import Entry, RunRecord
from drkit.wiring.app import App

_MOST_RUNS = 50


def known_of(config: Config, root: Path, *, clock: Clock | None = None) -> Callable[[str], Known]:
    """`Known` by the name of a runbook. Nothing is asked of any place; a machine without a state
    knows nothing, and that is what its notes say.
    """
    clock = clock or SystemClock()
    app = App(config, root, sandbox=False, emit=discard, clock=clock)
    used_s: dict[str, float] = {}
    golden: bool | None = None
    state = Path(with_absolute_paths(config.state, root).path) / "state.sqlite"
    if config.state.url is None and state.exists():
        for run, entries in _real_runs(app):
            for part, at in _worked(config, run, entries):
                used_s.setdefault(part, (clock.now() - at).total_seconds())
            golden = _compared(entries) if golden is None else golden
    vault = urlsplit(os.environ.get("VAULT_ADDR", "")).hostname
    return lambda name: Known(golden=golden, used_s=used_s, vault_host=vault, file_name=name)


def _real_runs(app: App) -> list[tuple[RunRecord, list[Entry]]]:
    """The newest first; none where the state cannot be read, which is not what is checked here."""
    try:
        journal = Journal(app.database, app.clock)
        runs = [run for run in journal.runs() if not run.sandbox]
        return [(run, journal.entries(run.id)) for run in runs[:_MOST_RUNS]]
    except DrkitError:
        return []


def _worked(config: Config, run: RunRecord, entries: list[Entry]) -> list[tuple[str, datetime]]:
    """What a preflight that passed has signed in to, and when."""
    for entry in entries:
        if entry.kind == "done" and entry.step == "preflight":
            output = entry.payload.get("output")
            away = output.get("unreachable") if isinstance(output, dict) else ()
            stores = [name for name in config.stores if name not in (away or ())]
            parts = [f"stores.{name}" for name in stores]
            parts += [f"switch.{name}" for name in config.switch]
            return [
                (part, entry.at)
                for part in (*parts, "repository", "arbiter", f"targets.{run.target}")
            ]
    return []


def _compared(entries: list[Entry]) -> bool | None:
    """Whether a verify compared golden answers; None if none did."""
    for entry in entries:
        proofs = entry.payload.get("proofs") if entry.kind == "done" else None
        if isinstance(proofs, list) and any(
            isinstance(proof, dict) and proof.get("check") == "golden logprobs" for proof in proofs
        ):
            return True
    return None
