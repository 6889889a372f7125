"""An operator at the terminal of a run: looks away, looks on, leads it elsewhere, takes it back."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Deployment

FAILOVER = ("failover", "--to", "coreweave", "--sandbox", "--yes")


def kinds(entries: list[dict], step: str) -> list[str]:
    return [entry["kind"] for entry in entries if entry["step"] == step]


def test_a_failed_run_is_offered_and_led_elsewhere_with_what_was_restored(
    bereft: Deployment,
) -> None:
    code, out = bereft.run(*FAILOVER, DRKIT_BREAK="verify:before-intent:kill")
    assert code == 25, out
    run, _ = bereft.show()
    code, out = bereft.run("failover", "--to", "vast", "--sandbox", "--yes")
    assert code == 25, out
    assert f"drkit runs retarget {run['id']} --to vast --yes" in out
    assert f"drkit runs rollback {run['id']} --yes" in out
    assert [each["id"] for each in bereft.rows("runs", "list")] == [run["id"]]

    code, out = bereft.run("runs", "skip", "verify", "--reason", "in a hurry", "--sandbox")
    assert code == 24, out
    bereft.done("runs", "retarget", "--to", "vast", "--yes")
    led, entries = bereft.show()
    assert (led["id"], led["target"], led["outcome"]) == (run["id"], "vast", "committed")
    assert led["plan_checksum"] != run["plan_checksum"]
    assert (bereft.instances("coreweave"), len(bereft.instances("vast"))) == ([], 1)
    assert kinds(entries, "restore").count("done") == 1
    assert kinds(entries, "acquire").count("done") == 2
    assert bereft.ask_as_a_user() == (200, "Qwen3-4B")


def test_whoever_looks_on_may_look_away_and_the_run_goes_on_until_it_is_taken_back(
    bereft: Deployment,
) -> None:
    former = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    command = bereft.start(*FAILOVER, DRKIT_BREAK="verify:before-intent:stop")
    signal.signal(signal.SIGINT, former)
    run_pid = bereft.stopped_run(command)
    command.send_signal(signal.SIGINT)
    out, _ = command.communicate(timeout=60)
    run, _ = bereft.show()
    assert command.returncode == 130, out
    assert f"drkit runs attach {run['id']}" in out
    looking = bereft.start("runs", "attach", "--sandbox")
    asked = bereft.start("runs", "abort", "--sandbox")
    while bereft.show()[0]["asked"] != "abort":  # else the run would be over before
        assert asked.poll() is None
    os.kill(run_pid, signal.SIGCONT)
    out, _ = asked.communicate(timeout=60)
    assert asked.returncode == 0, out
    assert "drkit runs rollback" in out
    seen, _ = looking.communicate(timeout=60)
    assert looking.returncode == 25, seen
    assert "asked for abort" in seen
    run, _ = bereft.show()
    assert run["state"] == "NEEDS_OPERATOR"
    assert len(bereft.instances("coreweave")) == 1
    bereft.done("runs", "rollback", "--yes")
    run, entries = bereft.show()
    assert (run["state"], run["outcome"]) == ("ROLLED_BACK", "rolled back")
    assert "cutover" not in {entry["step"] for entry in entries}
    assert bereft.instances("coreweave") == []
