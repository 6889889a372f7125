"""The arbiter's suite on PostgreSQL, as several machines would use it."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest

from drkit.clock import ManualClock, SystemClock
from drkit.coordination.arbiter import PlacedArbiter
from drkit.coordination.interface import Arbiter, ArbiterUnreachable, ClockSkewed
from drkit.coordination.postgres import PostgresPlace
from drkit.coordination.sightings import MemorySightings
from drkit.errors import GuardRefused

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
        place = PostgresPlace(postgres_url, SystemClock())
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


def test_R1_its_compare_and_swap_is_proved_and_leaves_no_row(postgres_url: str) -> None:
    import psycopg

    assert "came second" in PostgresPlace(postgres_url, SystemClock()).prove()
    with psycopg.connect(postgres_url) as connection:
        rows = connection.execute("SELECT count(*) FROM remembered").fetchone()
    assert rows == (0,)


def test_R1_a_database_that_lets_both_write_is_found_out(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psycopg

    from drkit.state import database

    real = database.create_engine
    loose = {"isolation_level": "READ COMMITTED"}
    monkeypatch.setattr(database, "create_engine", lambda url, **given: real(url, **given | loose))
    place = PostgresPlace(postgres_url, SystemClock())
    place.read("chat")
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("ALTER TABLE remembered DROP CONSTRAINT remembered_pkey")
    with pytest.raises(GuardRefused, match="overwrite each other"):
        place.prove()


def test_T1_a_clock_that_is_years_behind_the_databases_may_not_lead(postgres_url: str) -> None:
    clock = ManualClock()
    arbiter = PlacedArbiter(PostgresPlace(postgres_url, clock), MemorySightings(), clock)
    with pytest.raises(ClockSkewed, match="behind the arbiter's"):
        arbiter.acquire("chat", "a", ttl_s=60)
    assert arbiter.holding("chat") is None
