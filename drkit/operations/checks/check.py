"""Checks the repository, repairs it when asked to, and remembers what was read when."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from drkit.errors import PlaceError
from drkit.events import Emit, Note
from drkit.operations.checks.reading_log import packs_log, read_logs, write_logs
from drkit.repository.check.check import check_repository
from drkit.repository.check.read_turns import ReadLog, after_reading, due_turns, log_of
from drkit.repository.check.reading_choice import Reading, ReadTurns, turn_of
from drkit.repository.check.values import CheckReport
from drkit.repository.format.layout import DATA
from drkit.repository.heal.heal import Healed, heal
from drkit.repository.locks.locks import take_locks
from drkit.repository.repository import Repository


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
    name; a store that is not named is not read). Packs are told apart by their names alone. A turn
    in which a pack stays damaged is due again the next day.
    """
    today = repository.clock.now().date()
    path = packs_log(state_dir)
    former = read_logs(path)
    logs = {name: log_of(former.get(name), of, today) for name, of in days.items()}
    due = {name: due_turns(log, today) for name, log in logs.items()}
    outcome = run_check(
        repository, ReadTurns(due, days), repair=repair, cheapest=cheapest, emit=emit
    )
    for name, turns in due.items():
        checked = outcome.found.stores.get(name)
        if checked is not None and checked.read_whole:
            stay = {
                turn_of(finding.name.rpartition("/")[2], days[name])
                for finding in outcome.report.stores[name].findings
                if finding.name.startswith(DATA)
            }
            logs[name] = after_reading(logs[name], turns - stay, today)
    write_logs(path, logs)
    return CheckOutcome(outcome.found, outcome.report, outcome.healed, logs)


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
