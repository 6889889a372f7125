"""Checks the repository, repairs it when asked to, and remembers what was read when."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

import orjson

from drkit.errors import PlaceError
from drkit.events import Emit, Note
from drkit.repository.check.check import check_repository
from drkit.repository.check.read_turns import ReadLog, after_reading, due_turns, log_of
from drkit.repository.check.reading_choice import Reading, ReadTurns
from drkit.repository.check.values import CheckReport
from drkit.repository.heal.heal import Healed, heal
from drkit.repository.locks.locks import take_locks
from drkit.repository.repository import Repository
from drkit.stores.durable import write_file

_LOG_FILE = "check/reads.json"


@dataclass(frozen=True, slots=True)
class CheckOutcome:
    """`found` is what was found at first, `report` how it stands at the end: another one only
    after a repair. `logs`: what was read when, by store, where turns are kept.
    """

    found: CheckReport
    report: CheckReport
    healed: Healed | None = None
    logs: Mapping[str, ReadLog] = field(default_factory=dict)


def run_check(
    repository: Repository,
    reading: Reading,
    *,
    only: Sequence[str] = (),
    repair: bool = False,
    cheapest: Sequence[str] = (),
    emit: Emit,
) -> CheckOutcome:
    """Checks under shared locks, so that no prune runs meanwhile; backups may.

    With `repair` what one store has wrong is put back from the others, and the structure is
    checked once more; what was put back was read back and hashed.
    """
    with _shared_locks(repository, emit):
        found = check_repository(
            repository, reading=reading, cheapest=cheapest, only=only, emit=emit
        )
    if not repair or found.sound:
        return CheckOutcome(found, found)
    healed = heal(repository, found, emit, cheapest=cheapest)
    with _shared_locks(repository, emit):
        after = check_repository(repository, cheapest=cheapest, only=only, emit=emit)
    return CheckOutcome(found, _with_what_stayed(after, found, healed), healed)


def run_due_check(
    repository: Repository,
    days: Mapping[str, int],
    state_dir: Path,
    *,
    repair: bool = False,
    cheapest: Sequence[str] = (),
    emit: Emit,
) -> CheckOutcome:
    """Reads the turns that are due today: each store's packs once in so many `days` (by store
    name; a store that is not named is not read). Packs are told apart by their names alone.
    """
    today = repository.clock.now().date()
    path = state_dir / _LOG_FILE
    former = read_logs(path)
    logs = {name: log_of(former.get(name), of, today) for name, of in days.items()}
    due = {name: due_turns(log, today) for name, log in logs.items()}
    outcome = run_check(
        repository, ReadTurns(due, days), repair=repair, cheapest=cheapest, emit=emit
    )
    for name, turns in due.items():
        checked = outcome.found.stores.get(name)
        if checked is not None and checked.read_whole:
            logs[name] = after_reading(logs[name], turns, today)
    write_file(path, _as_bytes(logs))
    return CheckOutcome(outcome.found, outcome.report, outcome.healed, logs)


def read_logs(path: Path) -> dict[str, ReadLog]:
    """What the file remembers, by store; nothing where it is gone or cannot be understood."""
    try:
        entries = orjson.loads(path.read_bytes())["stores"]
        return {
            name: ReadLog(
                int(entry["of"]),
                date.fromisoformat(entry["since"]),
                {int(turn): date.fromisoformat(day) for turn, day in entry["read"].items()},
            )
            for name, entry in entries.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _as_bytes(logs: Mapping[str, ReadLog]) -> bytes:
    stores = {
        name: {
            "of": log.of,
            "since": log.since.isoformat(),
            "read": {str(turn): day.isoformat() for turn, day in sorted(log.read.items())},
        }
        for name, log in logs.items()
    }
    return orjson.dumps({"drkit": 1, "stores": stores}, option=orjson.OPT_INDENT_2)


def _with_what_stayed(after: CheckReport, found: CheckReport, healed: Healed) -> CheckReport:
    """The second check, which did not read everything again, with what the first one had read
    and the repair could not put right.
    """
    mended = set(healed.restored)
    stores = {}
    for name, checked in after.stores.items():
        before = found.stores.get(name, checked)
        known = {finding.name for finding in checked.findings}
        stayed = [
            finding
            for finding in before.findings
            if finding.kind in ("wrong", "unread")
            and (name, finding.name) not in mended
            and finding.name not in known
            and finding.name  # a store that answers now is no finding any more
        ]
        stores[name] = replace(
            checked,
            findings=(*checked.findings, *stayed),
            packs_read=before.packs_read,
            bytes_read=before.bytes_read,
        )
    # a blob that no store could give is not brought back by copying
    return CheckReport(stores, found.lost or after.lost, after.lost_snapshots)


@contextmanager
def _shared_locks(repository: Repository, emit: Emit) -> Iterator[None]:
    """Locks where they can be written; a check with a read-only credential goes without."""
    try:
        locks = take_locks(repository, exclusive=False, need_all=False, emit=emit)
    except PlaceError as error:
        emit(Note("warning", "check", f"no lock could be written ({error.message})"))
        yield
        return
    try:
        yield
    finally:
        locks.release(emit)
