"""Runs as a process of its own (`killing`): says words to a state, dies at a moment of it.

Each order, `{word, state, moment}`, is one of `WORDS`, said to the SQLite file `state` and ended by
SIGKILL at its `moment`-th moment: before each statement, before each commit, and when the word was
said. The answer is how many moments there were, a text when it was refused. Clock and chance stand
still: equal states are equal.
"""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[2]
sys.path.insert(0, str(PROJECT))

from decision_facts import OUTAGE  # noqa: E402
from killing import die, work_in_forks  # noqa: E402
from sqlalchemy import event  # noqa: E402

from drkit.clock import ManualClock  # noqa: E402
from drkit.config.load import load_config  # noqa: E402
from drkit.coordination.decision import DecisionEvent  # noqa: E402
from drkit.coordination.decisions import Decisions  # noqa: E402
from drkit.errors import DrkitError  # noqa: E402
from drkit.runs.actions.catalog import ACTIONS  # noqa: E402
from drkit.runs.book.plan import Plan, make_plan  # noqa: E402
from drkit.runs.book.schema import load_runbook  # noqa: E402
from drkit.runs.journal.journal import Journal  # noqa: E402
from drkit.runs.journal.opening import Opener, Right  # noqa: E402
from drkit.runs.records import Ask  # noqa: E402
from drkit.state.database import Database, open_database  # noqa: E402

CLOCK = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
CONFIG = load_config(PROJECT / "schedules.yaml")
RUNBOOK = load_runbook(PROJECT / "runbooks" / "primary-gpu-down.yaml")
DOWN = replace(OUTAGE, seeing=2, standby_proof_age_s=None)
secrets.token_hex = lambda _bytes=3: "00" * 3  # type: ignore[assignment]


def plan_of(kind: Any) -> Plan:
    return make_plan(RUNBOOK, config=CONFIG, kind=kind, target="coreweave", actions=ACTIONS)


FAILOVER, DRILL = plan_of("failover"), plan_of("drill")


def journal_of(database: Database) -> Journal:
    return Journal(database, CLOCK, machine="one")


def decisions_of(database: Database) -> Decisions:
    return Decisions(database, FAILOVER.service, CLOCK)


def open_drill(database: Database) -> None:
    journal_of(database).open_run(DRILL, sandbox=False)


def open_failover(database: Database) -> None:
    journal_of(database).open_run(FAILOVER, sandbox=False, opener=Opener("ada"))


def decide(database: Database) -> None:
    decisions_of(database).weigh(DecisionEvent.WEIGHED, DOWN, CONFIG.decide)


def approve_decision(database: Database) -> None:
    decisions_of(database).approve(DOWN, CONFIG.decide, by="ada")


def open_approved(database: Database) -> None:
    approved = decisions_of(database).open()
    decision = approved.id if approved is not None else "decision-20260101t000000-000000"
    opener = Opener("ada", Right.APPROVED, CONFIG.decide, decision)
    journal_of(database).open_run(FAILOVER, sandbox=False, opener=opener)


def ask(database: Database) -> None:
    journal_of(database).ask(_latest(database), ROLLBACK, who="ada")


def withdraw(database: Database) -> None:
    journal_of(database).ask(_latest(database), None, who="ada")


def approve_step(database: Database) -> None:
    journal_of(database).approve(_latest(database), "cutover", who="ada")


ROLLBACK = Ask("rollback", "ada")


def _latest(database: Database) -> str:
    return journal_of(database).run("latest").id


WORDS: dict[str, Callable[[Database], None]] = {
    each.__name__: each
    for each in (
        *(open_drill, open_failover, open_approved),
        *(decide, approve_decision, ask, withdraw, approve_step),
    )
}


def say(order: dict[str, Any]) -> int | str:
    database, moments = open_database(order["state"], clock=CLOCK), 0

    def moment(*_event: object) -> None:
        nonlocal moments
        moments += 1
        if moments == order["moment"]:
            die()

    event.listen(database._engine, "before_cursor_execute", moment)
    event.listen(database._engine, "commit", moment)
    try:
        WORDS[order["word"]](database)
        moment()
    except DrkitError as error:
        return type(error).__name__
    finally:
        database.close()
    return moments


work_in_forks(say)
