"""Starting a run's process, looking on, and what Ctrl-C means meanwhile."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from drkit.cli.errors import Detached, in_sandbox
from drkit.cli.session import Session

if TYPE_CHECKING:
    from drkit.runs.journal.journal import Journal
    from drkit.runs.records import JSON, Ask, AskFor, Entry, RunRecord
    from drkit.wiring import App

_POLL_S = 0.1
_SECOND_THOUGHTS_S = 3.0


def start_process(app: App, config_path: Path, run_id: str, *words: str) -> subprocess.Popen[bytes]:
    """The run's own process: it survives this one, and its terminal. Its words go to `log_of`."""
    log_of(app, run_id).parent.mkdir(parents=True, exist_ok=True)
    argv = [sys.executable, "-m", "drkit", "runs", "execute", run_id, *words]
    argv += ["--config", str(config_path)] + (["--sandbox"] if app.sandbox else [])
    with log_of(app, run_id).open("ab") as log:
        return subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )


def log_of(app: App, run_id: str) -> Path:
    return app.state_dir / "runs" / run_id / "log"


def start_and_attach(session: Session, app: App, journal: Journal, run_id: str, *words: str) -> int:
    """Starts the run's process and looks on; how it ended, as an exit status. What an operator
    asks for while the process is about to end is done by another one.
    """
    seq = _last_seq(journal, run_id)
    asked_before: Ask | None = None
    while True:
        process = start_process(app, session.config_path, run_id, *words)
        seq = _look_on(session, journal, run_id, seq, process)
        run = journal.run(run_id)
        if run.state.ended or run.asked in (None, asked_before):
            return _report(session, app, journal, run_id, log_of(app, run_id))
        asked_before = run.asked


def attach(session: Session, app: App, journal: Journal, run_id: str) -> int:
    """Looks on at a run that another command started, from its first line to its last."""
    _look_on(session, journal, run_id, 0, None)
    return _report(session, app, journal, run_id, log_of(app, run_id))


def _look_on(
    session: Session,
    journal: Journal,
    run_id: str,
    seq: int,
    process: subprocess.Popen[bytes] | None,
) -> int:
    """The last entry's number, once nobody executes the run. Raises `Detached`."""
    while True:
        try:
            return _follow(session, journal, run_id, process, seq)
        except KeyboardInterrupt:
            seq = _last_seq(journal, run_id)
            wanted = _second_thoughts(session, run_id)
            if wanted is None:
                raise Detached(
                    f"looks on no more; run {run_id} goes on",
                    hint=f"to look on again: drkit runs attach {run_id}",
                ) from None
            ask_for(journal, run_id, wanted)


def _second_thoughts(session: Session, run_id: str) -> AskFor | None:
    """What to do with the run: a second Ctrl-C asks. None: it goes on, with nobody looking."""
    say = session.terminal.say
    if session.json_lines or not sys.stdin.isatty():
        return None
    say("the run goes on without you")
    say(f"Ctrl-C again within {_SECOND_THOUGHTS_S:.0f} s to choose something else")
    try:
        time.sleep(_SECOND_THOUGHTS_S)
        return None
    except KeyboardInterrupt:
        pass
    say("[g] it goes on  [s] it stops after the steps that run now  [r] what began is rolled back")
    try:
        choice = input("your choice [g]: ").strip().lower()
    except (KeyboardInterrupt, EOFError):
        return None
    choices: Mapping[str, AskFor] = {"s": "stop", "r": "rollback"}
    return choices.get(choice[:1])


def ask_for(
    journal: Journal,
    run_id: str,
    what: AskFor,
    plan: str | None = None,
    *,
    leave: str | None = None,
) -> None:
    """Leaves an operator's wish with the run, by this user's name."""
    from drkit.runs.records import Ask
    from drkit.state.audit import this_user

    who = this_user()
    journal.ask(run_id, Ask(what, who, plan, leave), who=who)


def _follow(
    session: Session,
    journal: Journal,
    run_id: str,
    process: subprocess.Popen[bytes] | None,
    seq: int,
) -> int:
    running = True
    while running:
        running = journal.is_executed(run_id) if process is None else process.poll() is None
        for entry in journal.entries(run_id, seq):
            seq = entry.seq
            session.terminal.say(entry_line(entry))
        if running:
            time.sleep(_POLL_S)
    return seq


def _last_seq(journal: Journal, run_id: str) -> int:
    return max((entry.seq for entry in journal.entries(run_id)), default=0)


def _report(session: Session, app: App, journal: Journal, run_id: str, log: Path) -> int:
    from drkit.runs.evidence.as_lines import evidence_lines
    from drkit.wiring.run import write_evidence

    run = journal.run(run_id)
    evidence, paths = write_evidence(app, journal, run_id)
    for line in evidence_lines(evidence):
        session.terminal.say(line)
    entries = journal.entries(run_id)
    values = {"run_id": run.id, "state": run.state.value, "outcome": run.outcome, **paths}
    reason, hint = _waits_for(entries) if not run.state.ended else (_failed_for(run, entries), "")
    session.terminal.result("run_ended", values | {"reason": reason}, f"evidence: {paths['html']}")
    if not run.state.ended:
        why = f" ({reason})" if reason else ""
        to_go_on = in_sandbox(session, hint or f"to go on: drkit runs resume {run_id}")
        session.terminal.say(f"it stopped{why}; its log: {log}; {to_go_on}")
    return exit_status(run, entries)


def _waits_for(entries: list[Entry]) -> tuple[str, str]:
    """(why, what to do) of a run that waits for an operator; empty for one that died."""
    states = [entry.payload for entry in entries if entry.kind == "state"]
    if not states or states[-1].get("to") not in ("NEEDS_OPERATOR", "ROLLBACK_FAILED"):
        return "", ""
    return str(states[-1].get("reason") or ""), str(states[-1].get("hint") or "")


def _failed_for(run: RunRecord, entries: list[Entry]) -> str:
    """Why a run ended without its work done; empty for one that did it."""
    if run.outcome in ("passed", "committed"):
        return ""
    states = [entry.payload for entry in entries if entry.kind == "state"]
    return next((str(each["reason"]) for each in reversed(states) if each.get("reason")), "")


def exit_status(run: RunRecord, entries: list[Entry]) -> int:
    """0 when it did its work; 23 for a drill that failed; else what an operator must know."""
    if run.outcome in ("passed", "committed"):
        return 0
    if run.kind == "drill":
        return 23
    kinds = {str(entry.payload.get("kind")) for entry in entries if entry.kind == "failed"}
    if kinds & {"ProofsFailed", "ProofsPending", "VerificationFailed", "DamagedData"}:
        return 22
    return 26 if "OutOfCapacity" in kinds else 25


def entry_line(entry: Entry) -> str:
    """One line of a journal, for people."""
    from drkit.units import format_duration  # not at the top: --help imports declarations alone

    payload = entry.payload
    what = {
        "intent": "is undone now" if payload.get("undo") else "begins",
        "done": f"done: {entry.payload.get('proof', '')}",
        "failed": f"FAILED: {entry.payload.get('error', '')}",
        "skipped": f"skipped: {entry.payload.get('reason', '')}",
        "undone": f"undone: {entry.payload.get('proof', '')}",
        "state": _state_words(payload),
        "resumed": f"taken up again by process {entry.payload.get('pid')}",
        "replanned": f"goes on otherwise: {payload.get('why', '')}",
        "note": _note_words(payload),
    }[entry.kind]
    return f"{format_duration(entry.elapsed_s):>10}  {entry.step or 'run':<13}  {what}"


def _state_words(payload: Mapping[str, JSON]) -> str:
    why = f": {payload['reason']}" if payload.get("reason") else ""
    return f"is {payload.get('to')}{why}"


def _note_words(payload: Mapping[str, JSON]) -> str:
    """What a person should read of a note."""
    if isinstance(evidence := payload.get("evidence"), Mapping):
        return f"evidence: {evidence.get('html', '')}"
    if unknown := payload.get("effect_unknown"):
        return f"not known whether it took effect: {unknown}"
    if failed := payload.get("undo_failed"):
        return f"could not be undone: {failed}. {payload.get('hint', '')}"
    if payload.get("former_holder"):
        return "waits until nothing can arrive that another process sent (T3)"
    return str(payload.get("text") or payload.get("paid") or dict(payload))
