"""What is wrong with a store, judged from what it says of itself. Pure: nothing is asked here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from drkit.config.regions import area_of
from drkit.config.stores import FolderStore, GcsStore, S3Store, StoreConfig
from drkit.stores.inspection import Inspection, LifecycleRule
from drkit.units import format_bytes, format_duration

Level = Literal["ok", "note", "warning", "problem"]

_SKEW_WARNS_S = 30.0
_SKEW_STOPS_S = 300.0
_LEAST_FREE_BYTES = 5 << 30


@dataclass(frozen=True, slots=True)
class Finding:
    """`subject`: a store or a field. `advice` is empty where nothing is to do."""

    subject: str
    check: str
    level: Level
    text: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the deployment wants of one store. `residencies`: by source that it would hold."""

    name: str
    config: StoreConfig
    residencies: Mapping[str, str]


def judge(wanted: Wanted, found: Inspection) -> list[Finding]:
    """A finding for each question, good ones included."""
    parts = (
        _rights(found),
        _clock(found),
        _region(wanted, found),
        _old_versions(wanted, found),
        _lifecycle(wanted, found),
        _lock(wanted, found),
        _public(found),
        _room(found),
    )
    said = [Finding(wanted.name, *each) for part in parts for each in part]
    return said + [
        Finding(
            wanted.name,
            "settings",
            "note",
            f"not asked: {question}",
            "grant the right to read it, if only to whoever runs drkit doctor",
        )
        for question in found.unasked
    ]


_Said = tuple[str, Level, str, str] | tuple[str, Level, str]


def _rights(found: Inspection) -> Iterator[_Said]:
    deletes = tuple(one for one in found.lacking if "delete" in one.lower())
    if others := [one for one in found.lacking if one not in deletes]:
        text = f"the credential may not: {', '.join(others)}"
        yield "rights", "problem", text, "grant them; docs/how-to has the policy for each store"
    if deletes:
        text = f"the credential may not: {', '.join(deletes)}; nothing here can be pruned"
        yield (
            "rights",
            "warning",
            text,
            "right for an archive that no thief may empty; else grant it",
        )
    if found.excess:
        text = f"the credential may do more than it needs: {', '.join(found.excess)}"
        yield "rights", "warning", text, "take it away: who steals the key must not have it"
    if not found.lacking and not found.excess:
        yield "rights", "ok", "the credential may do what it needs, and nothing more was found"


def _clock(found: Inspection) -> Iterator[_Said]:
    if found.skew_s is None:
        return
    skew = abs(found.skew_s)
    text = f"its clock and this machine's differ by {format_duration(skew)}"
    if skew > _SKEW_STOPS_S:
        yield "clock", "problem", text, "set this machine's clock (NTP): no run starts like this"
    elif skew > _SKEW_WARNS_S:
        yield "clock", "warning", text, "set this machine's clock (NTP)"
    else:
        yield "clock", "ok", text


def _region(wanted: Wanted, found: Inspection) -> Iterator[_Said]:
    region = found.region or wanted.config.region
    if found.region and wanted.config.region and found.region != wanted.config.region.lower():
        text = f"it lies in {found.region}, the configuration says {wanted.config.region}"
        yield "region", "problem", text, f"write region: {found.region}, or move the bucket"
    elif region:
        yield "region", "ok", f"it lies in {region}"
    for source, residency in wanted.residencies.items():
        if region is None and isinstance(wanted.config, FolderStore):
            text = f"{source} must stay in {residency}; where this folder is, only you know"
            yield "residency", "note", text, "write the region of its disk as the store's region"
        elif region is None:
            text = f"{source} must stay in {residency}; the store does not say where it lies"
            yield "residency", "problem", text, "write its region"
        elif area_of(region) != residency:
            text = f"{source} must stay in {residency}, and {region} is in {area_of(region)}"
            yield "residency", "problem", text, "keep that source out of this store, or move it"
        else:
            yield "residency", "ok", f"{source} stays in {residency}"


def _old_versions(wanted: Wanted, found: Inspection) -> Iterator[_Said]:
    if found.soft_delete_s:
        text = (
            f"what is deleted is kept, and billed, for {format_duration(found.soft_delete_s)} more"
        )
        advice = "fine against accidents; shorten it where prune's churn costs too much"
        yield "soft-delete", "note", text, advice
    if found.versioned is None:
        return
    cleaned = [rule for rule in found.lifecycle or () if rule.action == "delete" and rule.old_only]
    deletes_versions = isinstance(wanted.config, S3Store) and wanted.config.delete_versions
    b2 = wanted.config.kind == "b2"
    if found.versioned and not (cleaned or deletes_versions or b2):
        text = "it keeps old versions, and nothing removes them: what is deleted bills for ever"
        advice = "add a lifecycle rule that removes versions some days after they were replaced"
        yield "versioning", "warning", text, advice
    elif found.versioned:
        yield "versioning", "ok", "old versions are kept for a while, and then removed"
    elif not (found.soft_delete_s or found.retention_s or _locks(wanted)):
        text = "what is deleted or overwritten is gone at once, whoever did it"
        advice = "turn on versioning or object lock in at least one store"
        yield "versioning", "warning", text, advice
    else:
        yield "versioning", "ok", "it keeps no old versions; deletions are guarded otherwise"


def _lifecycle(wanted: Wanted, found: Inspection) -> Iterator[_Said]:
    if found.lifecycle is None:
        return
    ours = [rule for rule in found.lifecycle if _meets(rule, found.prefix) and not rule.old_only]
    for rule in ours:
        after = "some time" if rule.days is None else f"{rule.days:g} days"
        if rule.action == "delete":
            text = (
                f"a rule removes objects {after} after they came; a pack is needed for as long as "
                f"any snapshot of {_keeps(wanted)} refers to it"
            )
            yield "lifecycle", "problem", text, "remove the rule: forget and prune delete"
        elif rule.action == "thaw":
            text = f"a rule freezes objects after {after}; they cannot be read without a thaw"
            yield "lifecycle", "problem", text, "remove the rule, or except this prefix"
        elif rule.action == "cool":
            text = f"a rule moves objects to a class where reading costs more, after {after}"
            yield "lifecycle", "warning", text, "prune and proof reading pay for it: see drkit cost"
    if not [rule for rule in ours if rule.action != "abort-uploads"]:
        yield "lifecycle", "ok", "no rule touches what snapshots may need"
    aborts = any(rule.action == "abort-uploads" for rule in found.lifecycle)
    if wanted.config.kind == "s3" and not aborts:
        text = "no rule aborts uploads that a killed writer left half-done"
        advice = "add AbortIncompleteMultipartUpload after 7 days"
        yield "lifecycle", "note", text, advice


def _lock(wanted: Wanted, found: Inspection) -> Iterator[_Said]:
    if _locks(wanted) and found.lockable is False:
        text = "objects are to be locked, and the bucket does not allow it"
        yield "object-lock", "problem", text, "make the bucket with object lock, or take it out"
    elif _locks(wanted) and found.lockable:
        yield "object-lock", "ok", "packs, indexes and snapshots are locked when they come"
    if found.retention_s:
        text = (
            f"nothing can be deleted for {format_duration(found.retention_s)} after it came, "
            "locks of backups included"
        )
        advice = "prefer retention per object (object_lock), which spares what must be deletable"
        yield "object-lock", "warning", text, advice


def _public(found: Inspection) -> Iterator[_Said]:
    if found.public:
        text = "nothing keeps the bucket from being made public"
        advice = "enforce public access prevention; weights lie there in plain"
        yield "public", "warning", text, advice
    elif found.public is False:
        yield "public", "ok", "it cannot be made public"


def _room(found: Inspection) -> Iterator[_Said]:
    if found.free_bytes is None:
        return
    text = f"{format_bytes(found.free_bytes)} are free"
    if found.free_bytes < _LEAST_FREE_BYTES:
        yield "room", "warning", text, "make room before it is full"
    else:
        yield "room", "ok", text


def _locks(wanted: Wanted) -> bool:
    config = wanted.config
    held = isinstance(config, GcsStore) and config.hold
    return held or getattr(config, "object_lock", None) is not None


def _meets(rule: LifecycleRule, prefix: str) -> bool:
    return rule.prefix.startswith(prefix) or prefix.startswith(rule.prefix)


def _keeps(wanted: Wanted) -> str:
    keep = wanted.config.keep.model_dump(exclude_none=True)
    words = [
        f"{name} {format_duration(value) if name == 'within' else value}"
        for name, value in keep.items()
        if value
    ]
    return f"the keep-rules ({', '.join(words)})"
