"""Two machines on one state: what an operator says here to a run that lives there (R5, T3).

The other machine is a real process, which was started under another boot as far as it can tell.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from drkit.clock import SystemClock
from drkit.config.load import load_config
from drkit.coordination.arbiter import PlacedArbiter
from drkit.coordination.folder import FolderPlace
from drkit.coordination.interface import LeaseHeld
from drkit.coordination.sightings import MemorySightings
from drkit.errors import NeedsOperator
from drkit.runs.actions.catalog import ACTIONS
from drkit.runs.book.plan import make_plan
from drkit.runs.book.schema import load_runbook
from drkit.runs.journal.journal import ClaimLost, Journal
from drkit.runs.lease import KeptLease
from drkit.runs.records import RunState
from drkit.runs.states import owes_a_wait
from drkit.runs.steering.skip import skip_step
from drkit.runs.steering.stopping import stop_where_it_is
from drkit.state.database import open_database

PROJECT = Path(__file__).parents[3]
TTL_S = 1.0
OTHER = """
import sys
from pathlib import Path
from drkit.clock import SystemClock
from drkit.coordination.arbiter import PlacedArbiter
from drkit.coordination.folder import FolderPlace
from drkit.coordination.sightings import MemorySightings
from drkit.runs import process
from drkit.runs.journal.journal import Journal
from drkit.runs.lease import KeptLease
from drkit.state.database import open_database

folder, run_id, ttl_s = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
process.started_mark = lambda _pid: "elsewhere-1"
clock = SystemClock()
journal = Journal(open_database(folder / "state.sqlite"), clock, machine="two")
arbiter = PlacedArbiter(FolderPlace(folder / "arbiter"), MemorySightings(), clock)
with KeptLease(arbiter, "assistant", f"two/{run_id}", clock, ttl_s=ttl_s) as lease:
    journal.claim(run_id)
    print("executes", flush=True)
    for word in sys.stdin:
        lease.prove(run_id, None)
        journal.append(run_id, "note", payload={"text": word.strip()})
        print("wrote", word, end="", flush=True)
    journal.release(run_id)
"""
Steer = Callable[[Journal, str, Callable[[str], KeptLease]], object]


def skips(journal: Journal, run_id: str, lease_of: Callable[[str], KeptLease]) -> object:
    return skip_step(journal, run_id, "verify_public", lease_of, reason="no resolver", who="ada")


def stops(journal: Journal, run_id: str, lease_of: Callable[[str], KeptLease]) -> object:
    return stop_where_it_is(journal, run_id, lease_of, who="ada")


class Here:
    def __init__(self, folder: Path) -> None:
        self.folder, self.clock = folder, SystemClock()
        self.journal = Journal(open_database(folder / "state.sqlite"), self.clock, machine="one")
        plan = make_plan(
            load_runbook(PROJECT / "runbooks" / "primary-gpu-down.yaml"),
            config=load_config(PROJECT / "schedules.yaml"),
            kind="failover",
            target="coreweave",
            actions=ACTIONS,
        )
        self.run_id = self.journal.open_run(plan, sandbox=False).id

    def lease_of(self, run_id: str, patience_s: float = 0.0) -> KeptLease:
        place = FolderPlace(self.folder / "arbiter")
        return KeptLease(
            PlacedArbiter(place, MemorySightings(), self.clock),
            "assistant",
            f"one/{run_id}",
            self.clock,
            ttl_s=TTL_S,
            patience_s=patience_s,
        )

    def patient(self, run_id: str) -> KeptLease:
        return self.lease_of(run_id, 5 * TTL_S)


@pytest.fixture
def here(tmp_path: Path) -> Here:
    return Here(tmp_path)


@pytest.fixture
def there(here: Here) -> Iterator[subprocess.Popen[str]]:
    """The process that executes the run, on the other machine."""
    process = subprocess.Popen(
        [sys.executable, "-c", OTHER, str(here.folder), here.run_id, str(TTL_S)],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "executes\n"
    yield process
    process.kill()
    process.communicate()


def _writes(process: subprocess.Popen[str], word: str) -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{word}\n")
    process.stdin.flush()
    return process.stdout.readline()


@pytest.mark.parametrize("steer", [skips, stops])
def test_R5_a_run_that_another_machine_executes_is_not_taken_from_it(
    here: Here, there: subprocess.Popen[str], steer: Steer
) -> None:
    before = here.journal.entries(here.run_id)
    with pytest.raises(LeaseHeld):
        steer(here.journal, here.run_id, here.lease_of)
    assert here.journal.entries(here.run_id) == before
    assert _writes(there, "it goes on") == "wrote it goes on\n"
    assert here.journal.run(here.run_id).state is RunState.PLANNED


@pytest.mark.parametrize("steer", [skips, stops])
def test_T3_of_one_that_died_there_it_is_done_once_its_lease_ran_out(
    here: Here, there: subprocess.Popen[str], steer: Steer
) -> None:
    there.kill()
    there.wait()
    steer(here.journal, here.run_id, here.patient)
    assert owes_a_wait(here.journal.entries(here.run_id))  # whoever resumes it here waits
    assert here.journal.is_free(here.run_id)


@pytest.mark.parametrize("steer", [skips, stops])
def test_a_run_that_was_given_back_needs_no_arbiter_for_it(
    here: Here, there: subprocess.Popen[str], steer: Steer
) -> None:
    there.communicate()

    def away(_run_id: str) -> KeptLease:
        raise AssertionError("nobody executes it")

    steer(here.journal, here.run_id, away)
    assert not owes_a_wait(here.journal.entries(here.run_id))


def test_R5_of_two_that_take_a_free_run_only_one_writes_to_it(here: Here) -> None:
    other = Journal(open_database(here.folder / "state.sqlite"), here.clock, machine="two")
    here.journal.claim(here.run_id, only_free=True)
    with pytest.raises(ClaimLost):
        other.claim(here.run_id, only_free=True)
    other.claim(here.run_id)  # whoever executes it, under the lease of the service
    with pytest.raises(NeedsOperator):
        here.journal.append(here.run_id, "note", payload={"text": "too late"})
