"""The arbiter's suite on PostgreSQL, as several machines would use it."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest

from drkit.clock import ManualClock
from drkit.coordination.arbiter import PlacedArbiter
from drkit.coordination.interface import Arbiter, ArbiterUnreachable
from drkit.coordination.postgres import PostgresPlace
from drkit.coordination.sightings import MemorySightings

_SUITE = Path(__file__).resolve().parents[2] / "conformance" / "test_arbiter.py"
_SPEC = importlib.util.spec_from_file_location("arbiter_suite", _SUITE)
suite = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(suite)
globals().update({name: value for name, value in vars(suite).items() if name.startswith("test_")})
machine = suite.machine


@pytest.fixture
def opened(postgres_url: str) -> tuple[Callable[[ManualClock], Arbiter], Callable[[], None]]:
    urls = [postgres_url]

    def open_one(clock: ManualClock) -> Arbiter:
        place = PostgresPlace(postgres_url, clock)
        places.append(place)
        return PlacedArbiter(place, MemorySightings(), clock)

    def break_it() -> None:
        import psycopg

        with psycopg.connect(urls[0], autocommit=True) as connection:
            connection.execute("DROP TABLE remembered")

    places: list[PostgresPlace] = []
    return open_one, break_it


def test_a_server_that_is_not_there_is_said_to_be_unreachable() -> None:
    place = PostgresPlace("postgresql://postgres@127.0.0.1:1/none", ManualClock())
    with pytest.raises(ArbiterUnreachable, match="chat"):
        place.read("chat")
