"""Leases and roles in a bucket whose server compares before it writes: for any number of machines.

The state of a service is one small object. A change reads it with its version and replaces it on
the condition that nobody did meanwhile; who comes second reads again and decides anew.
"""

from __future__ import annotations

import random
from urllib.parse import quote

from drkit.clock import Clock
from drkit.coordination.arbiter import Step
from drkit.coordination.codec import decode, encode
from drkit.coordination.interface import ArbiterUnreachable
from drkit.coordination.rules import ServiceState
from drkit.errors import GuardRefused, PlaceError
from drkit.io_policy import ARBITER_RETRY
from drkit.stores.conditional import ConditionalStore, prove
from drkit.stores.inspection import Dated
from drkit.stores.interface import ObjectMissing, VersionChanged, Versioned

FOLDER = "arbiter/"


class StorePlace:
    """`Place` in `store`, which is believed only after `prove` has seen it comparing."""

    def __init__(self, store: ConditionalStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def read(self, service: str) -> ServiceState:
        return self._decoded(service, self._found(service))

    def change(self, service: str, step: Step) -> ServiceState:
        pauses = ARBITER_RETRY.pauses_s(random.Random())
        while True:
            found = self._found(service)
            state = self._decoded(service, found)
            changed = step(state)
            if changed == state:
                return state
            try:
                self._write(service, encode(changed), found)
                return changed
            except VersionChanged:
                pause_s = next(pauses, None)
                if pause_s is None:
                    raise ArbiterUnreachable(
                        f"{self._store.name}: lease and role of {service} change all the time",
                        hint="does more than one drkit act for this service? drkit status",
                    ) from None
                self._clock.sleep(pause_s)
            except PlaceError as error:
                raise self._unreachable(service, error) from error

    def prove(self) -> str:
        try:
            prove(self._store)
        except VersionChanged as error:
            raise GuardRefused(
                f"{self._store.name}: a conditional write that must be taken was refused: "
                f"{error.message}",
                hint="it cannot hold lease and role; name another arbiter",
            ) from error
        except PlaceError as error:
            raise self._unreachable("the arbiter", error) from error
        return "it refused every write that came second"

    def skew_s(self) -> float | None:
        if not isinstance(self._store, Dated):
            return None
        try:
            return self._store.clock_skew_s()
        except PlaceError as error:
            raise self._unreachable("the arbiter", error) from error

    def _found(self, service: str) -> Versioned | None:
        try:
            return self._store.read_versioned(_object(service))
        except ObjectMissing:
            return None
        except PlaceError as error:
            raise self._unreachable(service, error) from error

    def _decoded(self, service: str, found: Versioned | None) -> ServiceState:
        if found is None:
            return ServiceState()
        return decode(
            found.data, service=service, found_in=f"{self._store.name}: {_object(service)}"
        )

    def _write(self, service: str, data: bytes, over: Versioned | None) -> None:
        if over is None:
            self._store.put_if_absent(_object(service), data)
        else:
            self._store.replace_if(_object(service), data, over.version)

    def _unreachable(self, service: str, error: PlaceError) -> ArbiterUnreachable:
        return ArbiterUnreachable(
            f"lease and role of {service}: {error.message}",
            hint=error.hint or "bring that store back",
        )


def _object(service: str) -> str:
    return f"{FOLDER}service-{quote(service, safe='')}.json"
