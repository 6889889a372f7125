"""When each store's turn of a prune is (S6). Pure.

One store first, a day after the packs were marked; the next one a day after it; archives last, and
at least seven days behind the first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from drkit.repository.records.prune_plan import PrunePlan

HOLD = timedelta(hours=23)  # longer than any backup: what one wrote meanwhile is seen by then
BETWEEN = timedelta(hours=23)  # a day, for a command that is run daily at about the same time
ARCHIVE_BEHIND = timedelta(days=7)


def turn_order(roles: Mapping[str, str]) -> list[str]:
    """Stores as they are named, archives behind all others."""
    return sorted(roles, key=lambda store: roles[store] == "archive")


def next_turn(
    plan: PrunePlan, roles: Mapping[str, str], *, hold: timedelta = HOLD
) -> tuple[str, datetime] | None:
    """Whose turn is next, and the moment before which nothing is deleted there; None: all done."""
    left = [store for store in turn_order(roles) if store not in plan.turns]
    if not left:
        return None
    due = plan.marked_at + hold
    done: Sequence[datetime] = sorted(turn.at for turn in plan.turns.values())
    if done:
        due = max(due, done[-1] + BETWEEN)
        if roles[left[0]] == "archive":
            due = max(due, done[0] + ARCHIVE_BEHIND)
    return left[0], due
