"""The audit log: what is added stays, and what is changed shows."""

from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import update

from drkit.clock import ManualClock
from drkit.state.audit import FIRST, AuditLog
from drkit.state.database import Database, open_database
from drkit.state.schema import AUDIT


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return open_database(tmp_path / "state.sqlite", clock=ManualClock())


@pytest.fixture
def log(database: Database) -> AuditLog:
    log = AuditLog(database, ManualClock())
    for number in range(4):
        log.append("failover", f"run-{number}", {"to": "coreweave", "usd": 1.5}, who="ada@vm")
    return log


def test_lines_are_chained_from_the_first_and_verify(log: AuditLog) -> None:
    lines = list(log.entries())
    assert [line.seq for line in lines] == [1, 2, 3, 4]
    assert lines[0].previous == FIRST
    assert [line.previous for line in lines[1:]] == [line.digest for line in lines[:-1]]
    verdict = log.verify()
    assert (verdict.entries, verdict.head, verdict.broken_at) == (4, lines[-1].digest, None)
    assert [line.seq for line in log.entries(after_seq=2)] == [3, 4]


def test_an_empty_log_is_sound(database: Database) -> None:
    assert AuditLog(database, ManualClock()).verify().broken_at is None


@pytest.mark.parametrize(
    "forged",
    [
        {"who": "eve@vm"},
        {"detail": '{"to": "vast"}'},
        {"what": "drill"},
        {"subject": "run-9"},
        {"digest": "f" * 64},
        {"previous": "f" * 64},
    ],
)
def test_a_line_that_was_changed_breaks_the_chain_there(
    log: AuditLog, database: Database, forged: dict[str, str]
) -> None:
    with database.write() as connection:
        connection.execute(update(AUDIT).where(AUDIT.c.seq == 2).values(forged))
    assert log.verify().broken_at == 2


def test_a_line_that_was_removed_breaks_the_chain_there(log: AuditLog, database: Database) -> None:
    with database.write() as connection:
        connection.execute(AUDIT.delete().where(AUDIT.c.seq == 3))
    assert log.verify().broken_at == 3


def test_a_line_that_was_resealed_breaks_the_next_one(log: AuditLog, database: Database) -> None:
    line = replace(list(log.entries())[1], who="eve@vm")
    with database.write() as connection:
        values = {"who": "eve@vm", "digest": line.computed()}
        connection.execute(update(AUDIT).where(AUDIT.c.seq == 2).values(values))
    assert log.verify().broken_at == 3


def test_a_number_that_is_left_out_breaks_the_chain_there(
    log: AuditLog, database: Database
) -> None:
    line = replace(list(log.entries())[3], seq=5)
    with database.write() as connection:
        values = {"seq": 5, "digest": line.computed()}
        connection.execute(update(AUDIT).where(AUDIT.c.seq == 4).values(values))
    assert log.verify().broken_at == 4


def test_this_user_is_named_where_nobody_is(database: Database) -> None:
    log = AuditLog(database, ManualClock())
    assert "@" in log.append("ack", "anomaly", {}).who
