"""What of a journal is copied, sealed, to a store, and when (R3)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence

from drkit.clock import Clock
from drkit.runs.book.plan import Plan
from drkit.runs.journal.sealed import object_bytes, object_name
from drkit.runs.records import JSON, Effect, Entry, EntryKind, RunRecord

Copy = Callable[[str, bytes], bool]
"""(name below the store, content) -> whether one store holds it now; never raises, bounded."""

Read = Callable[[int], tuple[RunRecord, Plan, Sequence[Entry]]]

_AGAIN_AFTER_S = 30.0
_APART_S = 2.0
_AT_ONCE: frozenset[EntryKind] = frozenset({"state", "replanned"})
_SOON: frozenset[EntryKind] = frozenset({"done", "undone", "skipped"})


def must_be_sealed(kind: EntryKind, payload: Mapping[str, JSON]) -> bool:
    """Whether nothing may be done before the entry is in a store: what follows is paid, moves
    traffic or fences. A request for money is an entry of its own, between intent and effect.
    """
    if kind == "note":
        return "paid" in payload or "taken_over" in payload
    if kind != "intent":
        return False
    effect = payload.get("effect")
    return effect is None or Effect(effect).must_look


class Sealing:
    """Sends what one process wrote of its runs. What another process sent before is sent again:
    a store that lost its last object to a crash has it then.
    """

    def __init__(self, copy: Copy | None, clock: Clock) -> None:
        self._copy = copy
        self._clock = clock
        self._lock = threading.Lock()
        self._sealed_seq: dict[str, int] = {}
        self._sent_s: float | None = None
        self._failed_s: float | None = None
        self._given_up: set[str] = set()

    def wanted(self, run_id: str, kind: EntryKind, payload: Mapping[str, JSON]) -> bool:
        """Whether to try now: always for what must be sealed; for what is only worth it, and in a
        run that is local-only already, not again and again in vain; and results of quick steps not
        one by one.
        """
        if must_be_sealed(kind, payload):
            return run_id not in self._given_up or self._over(self._failed_s, _AGAIN_AFTER_S)
        if self._copy is None or not self._over(self._failed_s, _AGAIN_AFTER_S):
            return False
        return kind in _AT_ONCE or (kind in _SOON and self._over(self._sent_s, _APART_S))

    def _over(self, since_s: float | None, seconds: float) -> bool:
        return since_s is None or self._clock.elapsed_s() > since_s + seconds

    def send(self, run_id: str, upto_seq: int, read: Read) -> bool:
        """Whether all entries up to `upto_seq` are in a store now. `read(seq)`: the run, its plan,
        and its entries after `seq`.
        """
        if self._copy is None:
            return False
        with self._lock:
            sealed_seq = self._sealed_seq.get(run_id, 0)
            if sealed_seq >= upto_seq:
                return True
            run, plan, entries = read(sealed_seq)
            last_seq = entries[-1].seq
            if not self._copy(object_name(run, last_seq), object_bytes(run, plan, entries)):
                self._failed_s = self._clock.elapsed_s()
                return False
            self._failed_s = None
            self._sent_s = self._clock.elapsed_s()
            self._sealed_seq[run_id] = last_seq
            return True

    def give_up(self, run_id: str) -> None:
        """What had to be sealed was not: stores that hang need not delay each effect from now."""
        self._given_up.add(run_id)

    def forget(self, run_id: str) -> None:
        """All of it is sent again: it is of another generation now."""
        with self._lock:
            self._sealed_seq.pop(run_id, None)
