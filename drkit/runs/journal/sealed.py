"""A run's journal as it lies, sealed, in a store: enough for another machine to take it over (R3).

`runs/<run>/<generation>-<seq>` holds the run's record, its frozen plan, and the entries up to
`seq` that the object before it did not. A machine that takes a run over writes under the next
generation; what the former one wrote after that under its own is of no account. What is read is
not believed: each object is authenticated by the repository's key, bounded, and typed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, get_args

from drkit.errors import DamagedData, DrkitError
from drkit.runs.book.plan import Plan
from drkit.runs.journal.rows import payload_text
from drkit.runs.records import Entry, EntryKind, RunRecord, RunState
from drkit.stores.interface import ObjectInfo, Store

FOLDER = "runs/"
MOST_BYTES = 16 * 1024 * 1024
MOST_OBJECTS = 10_000
_NAME = re.compile(r"runs/(?P<run>[a-z0-9-]{1,64})/(?P<generation>\d{3})-(?P<seq>\d{6})")
_TIMES = ("created_at", "started_at", "ended_at", "first_failed_probe_at", "point_cut_at")
_PLAIN = (
    "service",
    "namespace",
    "kind",
    "runbook",
    "target",
    "plan_checksum",
    "epoch",
    "sandbox",
    "local_only",
    "drkit_version",
    "outcome",
    "interrupted_by",
    "opened_by",
    "unattended",
    "machine",
    "generation",
)

Unseal = Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class SealedRun:
    """A run as the stores know it: the newest record, its plan, and its entries from the first."""

    run: RunRecord
    plan: Plan
    entries: tuple[Entry, ...]


def object_name(run: RunRecord, seq: int) -> str:
    return f"{FOLDER}{run.id}/{run.generation:03d}-{seq:06d}"


def object_bytes(run: RunRecord, plan: Plan, entries: Sequence[Entry]) -> bytes:
    """What is sealed under `object_name(run, entries[-1].seq)`."""
    record = {name: getattr(run, name) for name in _PLAIN}
    record |= {name: _time(getattr(run, name)) for name in _TIMES}
    record |= {"id": run.id, "state": run.state.value, "plan": plan.to_json()}
    lines = [
        {
            "seq": entry.seq,
            "at": _time(entry.at),
            "elapsed_s": entry.elapsed_s,
            "step": entry.step,
            "attempt": entry.attempt,
            "kind": entry.kind,
            "payload": entry.payload,
        }
        for entry in entries
    ]
    return payload_text({"drkit_journal": 2, "run": record, "entries": lines}).encode()


def sealed_runs(stores: Iterable[Store], unseal: Unseal) -> list[RunRecord]:
    """Every run that some store which answers has entries of, as its newest object says.

    What cannot be read is left out: `sealed_run` says why.
    """
    newest: dict[str, tuple[tuple[int, int], Store, ObjectInfo]] = {}
    for store, info, match in _objects(stores, FOLDER):
        place = (int(match["generation"]), int(match["seq"]))
        if match["run"] not in newest or newest[match["run"]][0] < place:
            newest[match["run"]] = (place, store, info)
    found = []
    for _, store, info in newest.values():
        try:
            found.append(_read(store, info, unseal).run)
        except DrkitError:
            continue
    return sorted(found, key=lambda run: (run.created_at, run.id), reverse=True)


def sealed_run(stores: Iterable[Store], unseal: Unseal, run_id: str) -> SealedRun | None:
    """The run as all stores that answer know it together; None if none knows it.

    Raises `DamagedData` when entries are missing among them: a store that has them is away.
    """
    objects = [
        (int(match["generation"]), int(match["seq"]), store, info)
        for store, info, match in _objects(stores, f"{FOLDER}{run_id}/")
        if match["run"] == run_id
    ]
    parts = []
    for generation, _, store, info in sorted(objects, key=lambda each: each[:2]):
        part = _read(store, info, unseal)
        if part.run.generation != generation or part.run.id != run_id:
            raise _damaged(info.name, "it belongs to another place")
        parts.append(part)
    return _joined(parts) if parts else None


def _joined(parts: Sequence[SealedRun]) -> SealedRun:
    """`parts` in the order of their generations: each ends where the next generation begins."""
    lines: dict[int, Entry] = {}
    generation = parts[0].run.generation
    for part in parts:
        if part.run.generation > generation:
            generation = part.run.generation
            first = min((entry.seq for entry in part.entries), default=0)
            lines = {seq: entry for seq, entry in lines.items() if seq < first}
        lines |= {entry.seq: entry for entry in part.entries}
    entries = [lines[seq] for seq in sorted(lines)]
    if [entry.seq for entry in entries] != list(range(1, len(entries) + 1)):
        raise DamagedData(
            f"of run {parts[-1].run.id} the stores that answer do not have all entries",
            hint="bring the other stores back: one of them has the rest",
        )
    return SealedRun(parts[-1].run, parts[-1].plan, tuple(entries))


def _objects(
    stores: Iterable[Store], prefix: str
) -> Iterable[tuple[Store, ObjectInfo, re.Match[str]]]:
    for store in stores:
        try:
            for number, info in enumerate(store.list(prefix)):
                match = _NAME.fullmatch(info.name)
                if match is not None and info.size_bytes <= MOST_BYTES and number < MOST_OBJECTS:
                    yield store, info, match
        except DrkitError:
            continue  # another store may have it all


def _read(store: Store, info: ObjectInfo, unseal: Unseal) -> SealedRun:
    try:
        value = json.loads(unseal(store.get(info.name)))
        if value["drkit_journal"] != 2:
            raise ValueError(f"format {value['drkit_journal']!r} is not known")
        return _run(value["run"], [_entry(line) for line in value["entries"]])
    except (ValueError, TypeError, KeyError) as error:
        raise _damaged(f"{store.name}: {info.name}", str(error)) from error


def _run(record: Mapping[str, Any], entries: Sequence[Entry]) -> SealedRun:
    plan = Plan.from_json(record["plan"])
    if plan.checksum != record["plan_checksum"]:
        raise ValueError("its plan is not the one that was frozen")
    values: dict[str, Any] = {name: record[name] for name in _PLAIN}
    values |= {name: _moment(record[name]) for name in _TIMES}
    run = RunRecord(id=str(record["id"]), state=RunState(record["state"]), pid=None, **values)
    return SealedRun(run, plan, tuple(entries))


def _entry(line: Mapping[str, Any]) -> Entry:
    if line["kind"] not in get_args(EntryKind) or not isinstance(line["payload"], dict):
        raise ValueError(f"entry {line['seq']} is of no kind that this drkit knows")
    at = _moment(line["at"])
    if at is None or not isinstance(line["seq"], int) or not isinstance(line["attempt"], int):
        raise ValueError("an entry lacks its place")
    step = line["step"]
    return Entry(
        line["seq"],
        at,
        float(line["elapsed_s"]),
        None if step is None else str(step),
        line["attempt"],
        line["kind"],
        line["payload"],
    )


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="microseconds")


def _moment(value: object) -> datetime | None:
    if value is None:
        return None
    moment = datetime.fromisoformat(str(value))
    if moment.tzinfo is None:
        raise ValueError(f"{value} has no time zone")
    return moment


def _damaged(where: str, why: str) -> DamagedData:
    return DamagedData(f"{where}: this is no journal of a run: {why}", hint="look who wrote it")
