"""The protective hold: what was done, kept on the arbiter, and what is to do next. Pure.

Users of a service that is DOWN are moved to the external API, and back when it verifies again.
Each flip is written down before and after, under an epoch of its own, so that whoever leads next
knows whose hold it is, and a flip that was cut short is looked at again. A hold that an operator
or a run put on is theirs, and so is one that they took off.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from drkit.coordination.interface import RoleRecord


class Phase(Enum):
    """HOLDING and RELEASING: begun, and not known to have ended. LEFT: somebody else moved the
    users while the service is DOWN, and they are left where they are.
    """

    HOLDING = "holding"
    HELD = "held"
    RELEASING = "releasing"
    RELEASED = "released"
    LEFT = "left"


@dataclass(frozen=True, slots=True)
class HoldNote:
    """`switches`: those that this hold set, by name. `epoch` counts the notes."""

    phase: Phase = Phase.RELEASED
    switches: tuple[str, ...] = ()
    epoch: int = 0
    since: datetime | None = None

    @property
    def on(self) -> bool:
        """Users are, or may be, where this hold put them."""
        return self.phase in (Phase.HOLDING, Phase.HELD, Phase.RELEASING)


class Todo(Enum):
    NOTHING = "nothing"
    HOLD = "move users to the external API"
    RELEASE = "lead them back"
    NOTE = "note what is"


@dataclass(frozen=True, slots=True)
class Move:
    """`phase`: what the note says when it is done. `switches`: those that are set."""

    todo: Todo = Todo.NOTHING
    phase: Phase = Phase.RELEASED
    switches: tuple[str, ...] = ()
    why: str = ""


def hold_key(service: str) -> str:
    """What the note is called on the arbiter."""
    return f"{service}/hold"


def next_move(
    note: HoldNote, held: Mapping[str, bool], *, may_hold: bool, may_release: bool, well: bool
) -> Move:
    """What is to do. `held`: each switch that can hold and was read, as it stands now; all that
    the note names must be among them. `may_release`: who serves was verified just now, and nothing
    stands against it. `well`: the outage is over.
    """
    ours = tuple(name for name in note.switches if held.get(name))
    match note.phase:
        case Phase.LEFT:
            if well:
                return Move(Todo.NOTE, Phase.RELEASED, why="the outage is over")
            return Move(why="somebody moved users in this outage; they are left there")
        case Phase.HELD | Phase.RELEASING if not ours:
            if may_hold and note.phase is Phase.HELD:
                return Move(Todo.NOTE, Phase.LEFT, why="somebody else led users back")
            return Move(Todo.NOTE, Phase.RELEASED, why="users are led elsewhere already")
        case Phase.HOLDING if may_hold:
            return Move(Todo.HOLD, Phase.HELD, _open(held, note.switches), "it was cut short")
        case Phase.HOLDING if not ours:
            return Move(Todo.NOTE, Phase.RELEASED, why="it was cut short before it held anybody")
        case Phase.HELD | Phase.HOLDING | Phase.RELEASING:
            late = tuple(name for name in _open(held, ()) if name not in note.switches)
            if may_hold and note.phase is Phase.HELD and late:
                return Move(Todo.HOLD, Phase.HELD, late, "it could not be read before")
            if may_release:
                return Move(Todo.RELEASE, Phase.RELEASED, ours, "who serves verifies again")
            return Move(phase=note.phase, switches=ours, why="users are held")
        case Phase.RELEASED:
            if not may_hold:
                return Move()
            if names := _open(held, ()):
                return Move(Todo.HOLD, Phase.HELD, names, "the service is DOWN")
            return Move(why="users are on the external API already" if held else "no switch holds")


def _open(held: Mapping[str, bool], begun: tuple[str, ...]) -> tuple[str, ...]:
    """Those to set: what leads to the service now, and what a flip that was cut short had begun."""
    return tuple(name for name, is_held in held.items() if not is_held or name in begun)


def note_from(record: RoleRecord | None) -> HoldNote:
    """The note in an arbiter's record. One that cannot be read holds nobody: switches say more."""
    if record is None:
        return HoldNote()
    phase, _, names = (record.run_id or "").partition(" ")
    try:
        return HoldNote(
            Phase(phase), tuple(names.split(",")) if names else (), record.epoch, record.since
        )
    except ValueError:
        return HoldNote(epoch=record.epoch)


def record_of(
    note: HoldNote, phase: Phase, switches: tuple[str, ...], service: str, site: str, now: datetime
) -> RoleRecord:
    """The record that follows `note`. `site`: where users are led."""
    return RoleRecord(
        service=hold_key(service),
        epoch=note.epoch + 1,
        site=site,
        endpoint_url=None,
        since=now,
        run_id=" ".join((phase.value, ",".join(switches))).strip(),
    )
