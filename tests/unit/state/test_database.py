"""The state database: durable settings, migrations, and what is remembered."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.exc import IntegrityError, OperationalError

from drkit.clock import ManualClock
from drkit.errors import ConfigError
from drkit.state.database import Database, StateUnavailable, migrate, open_database
from drkit.state.migrations import MIGRATIONS, Migration
from drkit.state.schema import METADATA, RUNS


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return open_database(tmp_path / "state" / "state.sqlite", clock=ManualClock())


def _pragma(database: Database, name: str) -> object:
    with database.read() as connection:
        return connection.execute(text(f"PRAGMA {name}")).scalar()


def test_what_was_committed_is_on_the_disk(database: Database) -> None:
    assert _pragma(database, "journal_mode") == "wal"
    assert _pragma(database, "synchronous") == 2  # FULL
    assert _pragma(database, "foreign_keys") == 1
    assert _pragma(database, "busy_timeout") == 15_000


def test_migrations_are_applied_in_order_once_and_recorded(database: Database) -> None:
    assert migrate(database, ManualClock()) == []
    with database.read() as connection:
        rows = connection.execute(text("SELECT number, name FROM schema_migrations")).all()
    assert [tuple(row) for row in rows] == [(each.number, each.name) for each in MIGRATIONS]
    numbers = [each.number for each in MIGRATIONS]
    assert numbers == sorted(set(numbers))


def test_a_migration_that_fails_leaves_nothing_of_itself(database: Database) -> None:
    def half(connection):
        connection.execute(text("CREATE TABLE half (id INTEGER)"))
        raise RuntimeError("the power went")

    later = (*MIGRATIONS, Migration(len(MIGRATIONS) + 1, "half", half))
    with pytest.raises(RuntimeError):
        migrate(database, ManualClock(), later)
    with database.read() as connection:
        assert "half" not in inspect(connection).get_table_names()
    whole = Migration(
        len(MIGRATIONS) + 1, "whole", lambda c: c.execute(text("CREATE TABLE half (id INTEGER)"))
    )
    assert migrate(database, ManualClock(), (*MIGRATIONS, whole)) == [len(MIGRATIONS) + 1]


def test_a_command_that_only_reads_does_not_wait_for_one_that_was_halted_in_mid_write(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("drkit.state.database.BUSY_TIMEOUT_S", 0.05)
    database.remember("known", 1)
    with database.write() as connection:  # nobody ends it
        connection.execute(text("DELETE FROM remembered"))
        other = open_database(tmp_path / "state" / "state.sqlite")
        assert other.recall("known") == 1
        with pytest.raises(OperationalError, match="locked"), other.write():
            pass
        other.close()


def test_a_database_of_a_newer_drkit_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    database = open_database(path)
    newer = Migration(99, "of tomorrow", lambda _connection: None)
    migrate(database, ManualClock(), (*MIGRATIONS, newer))
    database.close()
    with pytest.raises(ConfigError, match="0099"):
        open_database(path)


def _where(index) -> str:
    return str(index["dialect_options"].get("sqlite_where"))


def test_the_tables_are_those_that_the_migrations_make(database: Database, tmp_path: Path) -> None:
    wanted = create_engine(f"sqlite:///{tmp_path / 'wanted.sqlite'}")
    METADATA.create_all(wanted)

    def shape(bind):
        seen = inspect(bind)
        return {
            table: (
                [(c["name"], str(c["type"]), c["nullable"]) for c in seen.get_columns(table)],
                seen.get_pk_constraint(table)["constrained_columns"],
                sorted(
                    (i["name"], tuple(i["column_names"]), i["unique"], _where(i))
                    for i in seen.get_indexes(table)
                ),
                [
                    (k["constrained_columns"], k["referred_table"])
                    for k in seen.get_foreign_keys(table)
                ],
            )
            for table in seen.get_table_names()
            if table != "schema_migrations"
        }

    with database.read() as connection:
        assert shape(connection) == shape(wanted)


def _row(run_id: str, ended: str | None = None) -> dict[str, object]:
    clock = ManualClock()
    return {
        "id": run_id,
        "service": "assistant",
        "namespace": "production",
        "kind": "failover",
        "runbook": "r",
        "target": "t",
        "state": "PLANNED",
        "plan": "{}",
        "plan_checksum": "0",
        "sandbox": False,
        "local_only": False,
        "created_at": clock.now(),
        "ended_at": clock.now() if ended else None,
        "claim": 0,
        "drkit_version": "0",
    }


def test_R4_the_database_itself_refuses_a_second_open_run(database: Database) -> None:
    with database.write() as connection:
        connection.execute(RUNS.insert().values(_row("one")))
    with pytest.raises(IntegrityError), database.write() as connection:
        connection.execute(RUNS.insert().values(_row("two")))
    with database.write() as connection:
        connection.execute(RUNS.insert().values(_row("three", ended="yes")))
        connection.execute(RUNS.insert().values({**_row("four"), "namespace": "drill"}))


def test_a_transaction_that_fails_changes_nothing(database: Database) -> None:
    with pytest.raises(ZeroDivisionError), database.write() as connection:
        connection.execute(RUNS.insert().values(_row("one")))
        raise ZeroDivisionError
    with database.read() as connection:
        assert connection.execute(RUNS.select()).all() == []


def test_a_time_without_a_zone_is_refused(database: Database) -> None:
    from sqlalchemy.exc import StatementError

    naive = ManualClock().now().replace(tzinfo=None)
    with pytest.raises(StatementError, match="no time zone"), database.write() as connection:
        connection.execute(RUNS.insert().values({**_row("one"), "created_at": naive}))


def test_what_is_remembered_replaces_what_was(database: Database) -> None:
    assert database.recall("health/assistant") is None
    database.remember("health/assistant", {"state": "HEALTHY", "rounds": 3})
    database.remember("health/assistant", {"state": "DOWN", "rounds": [1, None]})
    assert database.recall("health/assistant") == {"state": "DOWN", "rounds": [1, None]}


def test_a_place_where_no_file_can_be_is_said_with_a_hint(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateUnavailable, match="cannot be opened"):
        open_database(tmp_path / "file" / "state.sqlite")


def test_a_url_shows_no_password(tmp_path: Path) -> None:
    with pytest.raises((StateUnavailable, ModuleNotFoundError)) as caught:
        open_database("postgresql+psycopg://drkit:hunter2@127.0.0.1:1/none")
    assert "hunter2" not in str(caught.value)


def _open_and_write(path: Path, barrier, results) -> None:
    barrier.wait(timeout=30)
    try:
        database = open_database(path)
        for number in range(5):
            database.remember(f"{multiprocessing.current_process().name}/{number}", number)
        results.put("ok")
    except (StateUnavailable, OperationalError) as error:
        results.put(str(error))


def test_processes_that_open_a_new_database_at_once_all_succeed(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(4), context.Queue()
    path = tmp_path / "state.sqlite"
    processes = [
        context.Process(target=_open_and_write, args=(path, barrier, results)) for _ in range(4)
    ]
    for process in processes:
        process.start()
    said = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(timeout=30)
    assert said == ["ok"] * 4
