"""Leases and roles in PostgreSQL, in one row per service; serialisable transactions compare."""

from __future__ import annotations

import random
import secrets
from contextlib import suppress

from drkit.clock import Clock
from drkit.coordination.arbiter import Step
from drkit.coordination.codec import decode, encode
from drkit.coordination.interface import ArbiterUnreachable
from drkit.coordination.rules import ServiceState
from drkit.errors import GuardRefused, PlaceError
from drkit.io_policy import ARBITER_RETRY
from drkit.state.database import Conflict, Database, open_database


class PostgresPlace:
    """`Place` in the database at `url`, which is brought to this version's schema at first use."""

    def __init__(self, url: str, clock: Clock) -> None:
        self._url = url
        self._clock = clock
        self._database: Database | None = None

    def read(self, service: str) -> ServiceState:
        try:
            return _decoded(service, self._opened().recall(_row(service)))
        except PlaceError as error:
            raise _unreachable(service, error) from error

    def change(self, service: str, step: Step) -> ServiceState:
        pauses = ARBITER_RETRY.pauses_s(random.Random())
        while True:
            try:
                with self._opened().exchange(_row(service)) as row:
                    state = _decoded(service, row.value)
                    changed = step(state)
                    if changed != state:
                        row.value = encode(changed).decode()
                return changed
            except Conflict as error:
                pause_s = next(pauses, None)
                if pause_s is None:
                    raise _unreachable(service, error) from error
                self._clock.sleep(pause_s)
            except PlaceError as error:
                raise _unreachable(service, error) from error

    def prove(self) -> str:
        """Two transactions that read the same and write: the one that comes second is refused."""
        name = _row(f".proof-{secrets.token_hex(8)}")
        try:
            try:
                with self._opened().exchange(name) as second:
                    with self._opened().exchange(name) as first:
                        first.value = "first"
                    second.value = "second"
            except Conflict:
                return "it refused the transaction that came second"
            raise GuardRefused(
                "the arbiter's database let two transactions overwrite each other",
                hint="it needs serialisable transactions: is there a pooler in between? name the "
                "database itself",
            )
        except PlaceError as error:
            raise _unreachable("the arbiter", error) from error
        finally:
            with suppress(PlaceError):
                self._opened().forget(name)

    def skew_s(self) -> float | None:
        try:
            said = self._opened().server_now()
        except PlaceError as error:
            raise _unreachable("the arbiter", error) from error
        return None if said is None else (said - self._clock.now()).total_seconds()

    def _opened(self) -> Database:
        if self._database is None:
            self._database = open_database(self._url, clock=self._clock)
        return self._database


def _row(service: str) -> str:
    return f"arbiter/{service}"


def _decoded(service: str, value: object) -> ServiceState:
    if value is None:
        return ServiceState()
    return decode(str(value).encode(), service=service, found_in="the arbiter's database")


def _unreachable(service: str, error: PlaceError) -> ArbiterUnreachable:
    if isinstance(error, ArbiterUnreachable):
        return error
    return ArbiterUnreachable(f"lease and role of {service}: {error.message}", hint=error.hint)
