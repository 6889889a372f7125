"""What a run is executed with: its journal, and a context of exactly what its actions use."""

from __future__ import annotations

import os
import queue
import signal
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path

from drkit.compute.none import NoCompute
from drkit.config.places import HttpGatewaySwitch
from drkit.config.sources import QdrantSource
from drkit.coordination.interface import RoleRecord
from drkit.errors import ConfigError, DrkitError
from drkit.events import Note
from drkit.io_policy import INTENT_COPY
from drkit.operations.status.status import proof_content, proof_name
from drkit.runs.actions.interface import Context
from drkit.runs.book.plan import Plan
from drkit.runs.evidence.as_html import evidence_html
from drkit.runs.evidence.as_json import evidence_json
from drkit.runs.evidence.build import build_evidence
from drkit.runs.evidence.values import Evidence
from drkit.runs.journal.journal import Journal
from drkit.runs.journal.sealed import SealedRun, sealed_run, sealed_runs
from drkit.runs.lease import LEASE_TTL_S, KeptLease, ttl_of, unless_owned_by_another
from drkit.runs.records import Entry, RunRecord
from drkit.runs.steering.break_glass import BrokenGlass, tell_arbiter
from drkit.runs.steering.takeover import kept_run, take_over
from drkit.sandbox.overrides import OVERRIDES, SANDBOX_PACE
from drkit.state.audit import this_user
from drkit.stores.durable import write_file
from drkit.stores.interface import Store
from drkit.wiring.app import App
from drkit.wiring.failback import back_up_brought, qdrant_home
from drkit.wiring.watch import role_now

_OBSERVE_S = 1800.0
_SETTLE_S = 30.0


def open_journal(app: App) -> Journal:
    """The journal of the deployment; what must be is also sealed into one store (R3)."""

    def copy(name: str, content: bytes) -> bool:
        try:
            sealed = app.repository.key.seal(content)
        except DrkitError:
            return False
        for store in sorted(app.stores, key=lambda each: each.name in slow):
            if within(INTENT_COPY.total_s, partial(_put, store, name, sealed)):
                return True
            slow.add(store.name)
        return False

    slow: set[str] = set()
    return Journal(app.database, app.clock, copy, machine=app.machine)


def within(seconds: float, work: Callable[[], bool]) -> bool:
    """What `work` returns; False when it did not return in time. It may still end later: what it
    does must be safe to happen then.
    """
    answers: queue.SimpleQueue[bool] = queue.SimpleQueue()
    threading.Thread(target=lambda: answers.put(work()), daemon=True).start()
    try:
        return answers.get(timeout=seconds)
    except queue.Empty:
        return False


def _put(store: Store, name: str, sealed: bytes) -> bool:
    try:
        store.put(name, sealed, size_bytes=len(sealed))
    except DrkitError:
        return False
    return True


def runs_in_stores(app: App) -> list[RunRecord]:
    """Every run that a store which answers knows, of any machine, the newest first."""
    return sealed_runs(app.stores, app.repository.key.open)


def others_run(app: App, selector: str, known: Collection[str]) -> RunRecord | None:
    """The run that the stores know and this machine does not, with that id or unique start of one;
    for "latest" the newest that has not ended.
    """
    runs = [run for run in runs_in_stores(app) if run.id not in known]
    if selector == "latest":
        return next((run for run in runs if not run.state.ended), None)
    found = [run for run in runs if run.id.startswith(selector)]
    return found[0] if len(found) == 1 else None


def take_over_run(app: App, journal: Journal, run_id: str, *, shared: bool = False) -> RunRecord:
    """The run, this machine's from now on; `shared`: it is in this state already, which another
    machine uses too. Raises what `take_over` raises.
    """

    def in_stores() -> SealedRun | None:
        return sealed_run(app.stores, app.repository.key.open, run_id)

    return take_over(
        journal,
        partial(kept_run, journal, run_id) if shared else in_stores,
        shared=shared,
        run_id=run_id,
        arbiter=app.arbiter,
        holder=_holder(app, run_id),
        clock=app.clock,
        who=this_user(),
        ttl_s=ttl_of(SANDBOX_PACE.time_scale if app.sandbox else 1.0),
    )


def unless_taken_over(app: App, run_id: str) -> None:
    """Raises `TakenOver` when the run is another machine's now."""
    unless_owned_by_another(app.arbiter, run_id, _holder(app, run_id))


def lease_of(app: App, run_id: str) -> KeptLease:
    """The lease of the run's service, as whoever executes the run on this machine holds it."""
    return KeptLease(
        app.arbiter,
        open_journal(app).plan(run_id).service_key,
        _holder(app, run_id),
        app.clock,
        run_id=run_id,
        ttl_s=ttl_of(SANDBOX_PACE.time_scale if app.sandbox else 1.0),
    )


def _holder(app: App, run_id: str) -> str:
    return f"{app.machine}/{run_id}"


def run_context(app: App, journal: Journal, run_id: str, *, break_glass: bool = False) -> Context:
    """The context of a run. Secrets are resolved on this machine, now (K3).

    `break_glass`: an operator wants it to act without the arbiter, which is noted in its journal.
    """
    run, plan = journal.run(run_id), journal.plan(run_id)
    drill = run.namespace == "drill"
    gateway = next(
        (s for s in app.config.switch.values() if isinstance(s, HttpGatewaySwitch)), None
    )
    switches = app.switches(run.namespace)
    records = [
        getattr(config, "drill_record" if drill else "record", None)
        for config in app.config.switch.values()
    ]
    work_dir = app.state_dir / "runs" / run.id
    work_dir.mkdir(parents=True, exist_ok=True)
    pace = SANDBOX_PACE if app.sandbox else None
    return Context(
        plan=plan,
        config=app.config,
        clock=app.clock,
        emit=app.emit,
        work_dir=work_dir,
        namespace=run.namespace,
        compute=app.compute(plan.target) if plan.asks_provider else NoCompute(),
        switches=switches,
        arbiter=_broken_glass(app, journal, run.id, plan) if break_glass else app.arbiter,
        holder=_holder(app, run.id),
        prober=app.prober,
        repository=lambda: app.repository,
        stores=app.stores,
        api_key=app.api_key,
        primary=app.primary,
        gateway_url=(gateway.drill_url if drill else gateway.url) if gateway else None,
        public_record=next((record for record in records if record), None),
        restore_qdrant_to=_restore_qdrant_to(app),
        time_scale=pace.time_scale if pace else 1.0,
        observe_s=pace.observe_s if pace else _OBSERVE_S,
        settle_s=pace.settle_s if pace else _SETTLE_S,
        breakpoint=_breakpoint() if app.sandbox else _no_breakpoint,
        write_evidence=lambda: write_evidence(app, journal, run.id)[1],
        qdrant_home=qdrant_home(app),
        back_up=back_up_brought(app),
    )


def _broken_glass(app: App, journal: Journal, run_id: str, plan: Plan) -> BrokenGlass:
    who = this_user()
    text = f"goes on without the arbiter, as {who} says: the role record waits for it"
    journal.say(run_id, {"break_glass": who, "text": text})
    last = role_now(app).role if plan.namespace == "production" else None
    return BrokenGlass(app.database, plan.service_key, last)


def tell_kept_role(app: App, service: str) -> RoleRecord | None:
    """What a run recorded while the arbiter was away, told to it now; None: nothing was kept."""
    holder = f"{app.machine}/role"
    return tell_arbiter(app.database, app.arbiter, service, holder, ttl_s=LEASE_TTL_S)


def write_evidence(app: App, journal: Journal, run_id: str) -> tuple[Evidence, Mapping[str, str]]:
    """The run's evidence as it stands, and where it was written: `html` and `json`."""
    run = journal.run(run_id)
    evidence = build_evidence(
        run,
        journal.plan(run_id),
        journal.entries(run_id),
        overrides=OVERRIDES if app.sandbox else (),
        now=app.clock.now(),
    )
    folder = app.state_dir / "evidence" / run_id
    pages = {"html": evidence_html(evidence).encode(), "json": evidence_json(evidence)}
    paths = {}
    for kind, content in pages.items():
        path = folder / f"evidence.{kind}"
        write_file(path, content, mode=0o644)
        paths[kind] = str(path)
    return evidence, paths


def conclude(app: App, journal: Journal, run: RunRecord) -> None:
    """Leaves, sealed and in every store that takes them, the evidence of a run that ended (K2),
    and that its point was proved if it succeeded. May be called again.
    """
    _, paths = write_evidence(app, journal, run.id)
    left = {f"runs/{run.id}/evidence.json": Path(paths["json"]).read_bytes()}
    point = proved_point(run, journal.entries(run.id))
    if point is not None:
        at = run.ended_at or app.clock.now()
        left[proof_name(run.id)] = proof_content(run.id, point, service=run.service, at=at)
    for name, content in left.items():
        sealed = app.repository.key.seal(content)
        for store in app.stores:
            try:
                store.put(name, sealed, size_bytes=len(sealed))
            except DrkitError as error:
                app.emit(Note("warning", store.name, f"did not take {name}: {error.message}"))


def proved_point(run: RunRecord, entries: Sequence[Entry]) -> str | None:
    """The snapshot that a run which succeeded has proved; None for any other run."""
    if run.outcome not in ("passed", "committed"):
        return None
    for entry in entries:
        if entry.step == "point" and entry.kind == "done":
            output = entry.payload.get("output")
            if isinstance(output, Mapping) and isinstance(output.get("snapshot_id"), str):
                return str(output["snapshot_id"])
    return None


def _restore_qdrant_to(app: App) -> Callable[[str], tuple[str, str | None] | None]:
    def place(source: str) -> tuple[str, str | None] | None:
        config = app.config.sources.get(source)
        if not isinstance(config, QdrantSource) or config.restore_to is None:
            return None
        key = config.restore_to.api_key
        return config.restore_to.url, app.secrets.resolve(key).reveal() if key else None

    return place


def _no_breakpoint(_step: str, _point: str) -> None:
    """Outside the sandbox nothing stops a run."""


def _breakpoint() -> Callable[[str, str], None]:
    """Rehearsed crashes: DRKIT_BREAK=step:point:kill (or stop) ends or halts the run's process."""
    wanted = os.environ.get("DRKIT_BREAK")
    if not wanted:
        return _no_breakpoint
    step, point, how = [*wanted.split(":"), "", ""][:3]
    if how not in ("kill", "stop"):
        raise ConfigError(
            f"DRKIT_BREAK={wanted!r}", hint="write it as STEP:POINT:kill or STEP:POINT:stop"
        )

    def reached(at_step: str, at_point: str) -> None:
        if (at_step, at_point) == (step, point):
            # To this thread, so that not one line of the step comes after it.
            number = signal.SIGKILL if how == "kill" else signal.SIGSTOP
            signal.pthread_kill(threading.get_ident(), number)

    return reached
