"""Is each store as it must be? Asked of the store itself, with what to do about each finding."""

from __future__ import annotations

import secrets as randomness
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, cast

from drkit.clock import Clock
from drkit.config.models import Config
from drkit.config.secret_refs import Found
from drkit.config.sources import WeightsSource
from drkit.config.stores import StoreArbiter
from drkit.errors import DrkitError, GuardRefused
from drkit.operations.readiness.doctor_rules import Finding, Wanted, judge
from drkit.repository.format.identity import exists
from drkit.stores.conditional import ConditionalStore, prove
from drkit.stores.inspection import Inspected
from drkit.stores.interface import Store, StoreRefused, StoreUnreachable, VersionChanged
from drkit.units import format_bytes

PROBES = "probe/"
"""Below this, each store holds for a moment what doctor wrote."""
_ELSEWHERE = {"vault", "aws-sm", "gcp-sm"}
_SMALL_BYTES = 4096
_LARGE_BYTES = 8 << 20
_SLOW_BYTES_PER_S = 1 << 20


@dataclass(frozen=True, slots=True)
class Diagnosis:
    findings: tuple[Finding, ...]

    @property
    def worst(self) -> Literal["ok", "unreachable", "problem"]:
        """Warnings and notes are "ok": they stop nothing."""
        problems = [finding for finding in self.findings if finding.level == "problem"]
        if not problems:
            return "ok"
        return "unreachable" if all(one.check == "reach" for one in problems) else "problem"


def examine_secrets(
    found: Sequence[Found], missing: Callable[[tuple[str, ...]], str | None]
) -> Iterator[Finding]:
    """Whether each reference of the configuration resolves here and now, and by what.

    One that resolves from afar only is noted: what it is asked of may be gone with the primary.
    """
    for path, reference in found:
        looked = {one: missing((one,)) for one in reference}
        good = [one.partition(":")[0] for one, why in looked.items() if why is None]
        bad = ", and ".join(why for why in looked.values() if why is not None)
        if not good:
            advice = "set it where it is looked for, or add another reference to the list"
            yield Finding(path, "secret", "problem", bad, advice)
            continue
        text = f"resolves ({', '.join(good)})" + (f"; not: {bad}" if bad else "")
        if set(good) <= _ELSEWHERE:
            advice = "add a reference to the list that needs nothing but this machine"
            yield Finding(path, "secret", "note", f"{text}; from nowhere on this machine", advice)
        else:
            yield Finding(path, "secret", "ok", text)


def examine_stores(
    config: Config, open_one: Callable[[str], Store], *, clock: Clock, only: Sequence[str] = ()
) -> Iterator[Finding]:
    """All stores at once, each for itself; those that cannot be opened are findings too. Last, the
    stores that answer and hold no repository.
    """
    names = [name for name in config.stores if not only or name in only]
    empty: list[str] = []
    sound = 0
    with ThreadPoolExecutor(max(1, len(names)), "doctor") as pool:
        for findings, holds in pool.map(
            lambda name: _examined(name, config, open_one, clock), names
        ):
            yield from findings
            empty += [] if holds is not False else [findings[0].subject]
            sound += holds is True
    for name in empty:
        advice = "drkit init; if there was one: is it the right bucket, is the disk mounted?"
        if sound:
            text = "it holds no repository, as others do"
            advice = "is it the right bucket, is the disk mounted? if it is empty by right, it "
            advice += f"joins the others by name: drkit init --store {name}"
            yield Finding(name, "repository", "warning", text, advice)
        else:
            yield Finding(name, "repository", "note", "it holds no repository so far", advice)


def wanted_of(name: str, config: Config) -> Wanted:
    """What the deployment wants of the store `name`."""
    holds = {
        source: part.residency
        for source, part in config.sources.items()
        if part.residency and (not isinstance(part, WeightsSource) or name in part.stores)
    }
    return Wanted(name, config.stores[name], holds)


def _examined(
    name: str, config: Config, open_one: Callable[[str], Store], clock: Clock
) -> tuple[list[Finding], bool | None]:
    """What was found, and whether a repository is there; None where that could not be seen."""
    try:
        store = open_one(name)
    except DrkitError as error:
        return [Finding(name, "reach", "problem", error.message, error.hint)], None
    try:
        reached = list(_reach(store, clock))
        arbiter = isinstance(config.arbiter, StoreArbiter) and config.arbiter.store == name
        works = reached[0].level == "ok"
        if works:
            reached += _conditional(store, needed=arbiter)
        if any(one.check == "reach" and one.level == "problem" for one in reached):
            return reached, None  # whatever else is asked would only take as long again
        reached += _inspected(store, wanted_of(name, config), told=not works)
        return reached, _holds_repository(store) if works else None
    finally:
        store.close()


def _holds_repository(store: Store) -> bool | None:
    try:
        return exists(store)
    except DrkitError:
        return None


def _inspected(store: Store, wanted: Wanted, *, told: bool) -> Iterator[Finding]:
    """What it says of itself; that it says nothing is not worth a finding if that was `told`."""
    if not hasattr(store, "inspect"):
        return
    try:
        yield from judge(wanted, cast(Inspected, store).inspect())
    except DrkitError as error:
        if not told:
            yield Finding(store.name, "settings", "problem", error.message, error.hint)


def _reach(store: Store, clock: Clock) -> Iterator[Finding]:
    """Writes, lists, reads and removes an object; then a larger one, which tells the speed."""
    probe = PROBES + randomness.token_hex(12)
    small = randomness.token_bytes(_SMALL_BYTES)
    try:
        store.put(probe, small, size_bytes=len(small))
        listed = {info.name: info.size_bytes for info in store.list(probe)}
        same = store.get(probe) == small and store.get(probe, offset=7, length=9) == small[7:16]
    except DrkitError as error:
        if not isinstance(error, StoreUnreachable):
            with suppress(DrkitError):
                store.delete(probe)
        yield _failed(store, error)
        return
    try:
        store.delete(probe)
        left = [info.name for info in store.list(probe)]
        if not same or listed != {probe: len(small)} or left:
            text = "what was written is not what was listed, read or removed"
            advice = "do not trust it with backups: is something between here and the store?"
            yield Finding(store.name, "access", "problem", text, advice)
            return
        yield Finding(store.name, "reach", "ok", "written, listed, read and removed")
        yield from _speed(store, probe, clock)
    except StoreRefused as error:
        advice = "right for an archive that no thief may empty; else grant it, or prune cannot work"
        text = f"the credential may not delete; {probe} stays there: {error.message}"
        yield Finding(store.name, "access", "warning", text, advice)
    except DrkitError as error:
        yield _failed(store, error)


def _failed(store: Store, error: DrkitError) -> Finding:
    check = "reach" if isinstance(error, StoreUnreachable) else "access"
    return Finding(store.name, check, "problem", error.message, error.hint)


def _speed(store: Store, probe: str, clock: Clock) -> Iterator[Finding]:
    large = randomness.token_bytes(_LARGE_BYTES)
    began_s = clock.elapsed_s()
    store.put(probe, large, size_bytes=len(large))
    sent_s = clock.elapsed_s()
    same = store.get(probe) == large
    read_s = clock.elapsed_s()
    store.delete(probe)
    if not same:
        advice = "do not trust it with backups: is something between here and the store?"
        yield Finding(store.name, "access", "problem", "8 MiB came back as other bytes", advice)
        return
    up, down = _LARGE_BYTES / max(sent_s - began_s, 1e-6), _LARGE_BYTES / max(read_s - sent_s, 1e-6)
    text = f"{format_bytes(up)}/s up, {format_bytes(down)}/s down, by one connection"
    if min(up, down) < _SLOW_BYTES_PER_S:
        advice = "a restore from here is slow; look at the line, or choose a nearer region"
        yield Finding(store.name, "throughput", "warning", text, advice)
    else:
        yield Finding(store.name, "throughput", "ok", text)


def _conditional(store: Store, *, needed: bool) -> Iterator[Finding]:
    if not hasattr(store, "put_if_absent"):
        if needed:
            text = "the arbiter is in this store, which has no conditional writes"
            advice = "name a gcs or s3 store, PostgreSQL, or a local folder"
            yield Finding(store.name, "conditional", "problem", text, advice)
        return
    try:
        prove(cast(ConditionalStore, store))
    except (GuardRefused, VersionChanged) as error:
        level: Literal["problem", "note"] = "problem" if needed else "note"
        yield Finding(store.name, "conditional", level, error.message, error.hint)
    except DrkitError as error:
        yield Finding(store.name, "conditional", "warning", error.message, error.hint)
    else:
        text = "it compares before it writes, so it can hold lease and role"
        yield Finding(store.name, "conditional", "ok", text)


def summary(findings: Sequence[Finding]) -> Mapping[str, int]:
    """How many findings there are of each level."""
    levels = ("problem", "warning", "note", "ok")
    return {level: sum(one.level == level for one in findings) for level in levels}
