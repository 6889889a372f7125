"""What a store keeps of objects that were deleted there: versions, or a soft delete (K6)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from drkit.errors import DrkitError
from drkit.stores.inspection import Inspection
from drkit.stores.interface import Store


@dataclass(frozen=True, slots=True)
class Remains:
    """`keeps_for`: how long after its deletion an object is there still; None: for good."""

    keeps_for: timedelta | None
    why: str


def remains(store: Store) -> Remains | None:
    """What the store keeps of what was deleted; None: nothing, by all that it says. It is asked."""
    inspect = getattr(store, "inspect", None)
    if inspect is None:
        return None
    try:
        found: Inspection = inspect()
    except DrkitError as error:
        return Remains(None, f"it does not say whether it keeps deleted objects ({error.message})")
    if found.soft_delete_s:
        return Remains(timedelta(seconds=found.soft_delete_s), "its soft delete")
    if not found.versioned or found.deletes_versions:
        return None
    lock = timedelta(seconds=found.retention_s or 0)
    own_lock = getattr(store, "retention", None)
    if isinstance(own_lock, timedelta):
        lock = max(lock, own_lock)
    days = [
        rule.days
        for rule in found.lifecycle or ()
        if rule.action == "delete" and rule.old_only and found.prefix.startswith(rule.prefix)
    ]
    known = [each for each in days if each is not None]
    if not known:
        return Remains(None, "old versions stay: delete_versions, or a rule that removes them")
    return Remains(max(lock, timedelta(days=min(known))), "its rule for old versions")
