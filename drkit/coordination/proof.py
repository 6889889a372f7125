"""The proof that an arbiter compares before it writes: made once on each machine, and kept (R1).

`drkit init` makes it; a machine that has none makes it before it writes anything for the first
time, so that a laptop which takes over believes no server that it has not seen refusing.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import orjson

from drkit.clock import Clock
from drkit.coordination.arbiter import Place, Step
from drkit.coordination.interface import ArbiterProof
from drkit.coordination.rules import ServiceState
from drkit.stores.durable import write_file


class ProofNote:
    """The proof as this machine keeps it, in a file of the state folder."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self, place: str) -> ArbiterProof | None:
        """What was proved of `place`; None for another one, and for a note that is damaged."""
        try:
            value = orjson.loads(self._path.read_bytes())
            found = ArbiterProof(
                str(value["place"]), str(value["seen"]), datetime.fromisoformat(value["at"])
            )
        except (OSError, ValueError, TypeError, KeyError):
            return None
        return found if found.place == place else None

    def save(self, proof: ArbiterProof) -> None:
        value = {"place": proof.place, "seen": proof.seen, "at": proof.at.isoformat()}
        write_file(self._path, orjson.dumps(value))


class ProvenPlace:
    """`inner`, of which nothing is written before it was seen comparing. Satisfies `Place`."""

    def __init__(self, inner: Place, name: str, note: ProofNote, clock: Clock) -> None:
        self._inner = inner
        self._name = name
        self._note = note
        self._clock = clock
        self._believed = False

    def read(self, service: str) -> ServiceState:
        return self._inner.read(service)

    def change(self, service: str, step: Step) -> ServiceState:
        if not self._believed:
            self._believed = bool(self._note.load(self._name) or self.prove())
        return self._inner.change(service, step)

    def prove(self) -> str:
        seen = self._inner.prove()
        self._note.save(ArbiterProof(self._name, seen, self._clock.now()))
        return seen

    def skew_s(self) -> float | None:
        return self._inner.skew_s()
