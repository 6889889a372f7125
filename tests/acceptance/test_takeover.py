"""Two machines with a state of their own each, and one deployment: stores, arbiter, providers."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Deployment

FAILOVER = ("failover", "--to", "coreweave", "--sandbox", "--yes")
SHARED = ("stores", "sites", "sources", "servers", "logs")
COPIED = ("ports.json", "processes.json", "restic-password", "tsig-key")


@pytest.fixture
def laptop(bereft: Deployment, tmp_path: Path) -> Iterator[Deployment]:
    """The same deployment from another machine: the same places, and none of the first's state."""
    other = type(bereft)(tmp_path / "laptop")
    other.sandbox.mkdir(parents=True)
    for name in SHARED:
        (other.sandbox / name).symlink_to(bereft.sandbox / name)
    for name in COPIED:
        shutil.copy(bereft.sandbox / name, other.sandbox / name)
    yield other
    left = [pid for pid, words in other.processes().items() if str(bereft.folder) not in words]
    assert left == []


def test_R3_another_machine_takes_a_killed_run_over_and_the_first_does_nothing_more(
    bereft: Deployment, laptop: Deployment
) -> None:
    code, out = bereft.run(*FAILOVER, DRKIT_BREAK="acquire:after-effect:kill")
    assert code == 25, out
    killed, _ = bereft.show()
    assert len(bereft.instances("coreweave")) == 1
    assert laptop.rows("runs", "list") == []
    (seen,) = laptop.rows("runs", "list", "--remote")
    assert (seen["id"], seen["state"]) == (killed["id"], "RUNNING")

    said = laptop.done("runs", "resume")
    assert "takes it over" in said
    run, entries = laptop.show()
    assert (run["id"], run["outcome"]) == (killed["id"], "committed")
    assert run["plan_checksum"] == killed["plan_checksum"]
    assert (run["generation"], run["machine"] != killed["machine"]) == (1, True)
    assert len(bereft.instances("coreweave")) == 1, "one machine in all"
    adopted = [
        e["payload"]["adopted"] for e in entries if (e["step"], e["kind"]) == ("acquire", "done")
    ]
    assert adopted == [True]
    assert any(e["payload"].get("outwaited") for e in entries), "T3"
    assert bereft.ask_as_a_user() == (200, "Qwen3-4B")

    before = bereft.show()
    code, out = bereft.run("runs", "resume", "--sandbox")
    assert code == 25, out
    assert "was taken over by" in out
    assert bereft.show() == before
    assert bereft.ask_as_a_user() == (200, "Qwen3-4B")
    bereft.done("runs", "resume", killed["id"], "--take-over")
    run, _ = bereft.show()
    assert (run["state"], run["generation"]) == ("COMMITTED", 2)
    assert len(bereft.instances("coreweave")) == 1
