"""A daemon watches: users are held when the primary dies, led back when it returns, and a person's
word brings the service up elsewhere.
"""

from __future__ import annotations

import contextlib
import json
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from daemons import until

if TYPE_CHECKING:
    from conftest import Deployment

PATIENCE_S = 90


@pytest.fixture
def watched(deployment: Deployment) -> Iterator[Deployment]:
    """Up, with a daemon that does nothing but probe."""
    path = deployment.folder / "schedules.yaml"
    text = re.sub(r"(?ms)^schedules:\n.*", "", path.read_text())
    text += "probe: {up_after: 2, known_after: 1}\n"
    path.write_text(f"{text}schedules:\n  probe: {{run: probe, every: 2s, deadline: 1m}}\n")
    deployment.done("sandbox", "up")
    daemon = subprocess.Popen(
        [sys.executable, "-m", "drkit", "daemon", "--sandbox"],
        cwd=deployment.folder,
        env=deployment.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    yield deployment
    daemon.send_signal(signal.SIGTERM)
    _, said = daemon.communicate(timeout=PATIENCE_S)
    assert daemon.returncode == 0, said
    assert "daemon: leads" in said


def kept(deployment: Deployment, query: str) -> list[tuple]:
    """What the state holds now: asked often, so not by a command."""
    path = deployment.sandbox / "state.sqlite"
    with contextlib.suppress(sqlite3.OperationalError):  # it is not there yet
        with contextlib.closing(sqlite3.connect(path)) as connection:
            return connection.execute(query).fetchall()
    return []


def changes(deployment: Deployment) -> list[tuple]:
    """How the service fared, oldest first, as the daemon's rounds wrote it down."""
    return kept(deployment, 'SELECT "before", "after" FROM health_changes ORDER BY seq')


def asked(deployment: Deployment, *words: str) -> list[dict]:
    """Rows of a command, which may end as it likes."""
    _, out = deployment.run(*words, "--sandbox", "--json")
    return [json.loads(line) for line in out.splitlines() if line.startswith("{")]


def audited(deployment: Deployment) -> list[str]:
    rows = deployment.rows("audit", "export")
    return [row["what"] for row in rows if row["message_type"] == "audit_entry"]


@pytest.mark.timeout(300)
def test_users_are_held_led_back_held_again_and_brought_to_a_new_gpu(
    watched: Deployment,
) -> None:
    until("it is known", lambda: ("UNKNOWN", "HEALTHY") in changes(watched))
    (status,) = (r for r in asked(watched, "status") if r["message_type"] == "service_status")
    assert "/daemon-" in status["leader"]
    assert "there is no warm standby that was verified" in status["not_auto"]

    watched.done("sandbox", "kill", "lambda")
    until("users are held", lambda: not watched.gateway()["enabled"])
    assert watched.ask_as_a_user() == (200, "claude-sonnet-4-5")

    watched.done("sandbox", "revive", "lambda")
    until("users are led back", lambda: watched.gateway()["enabled"])
    assert changes(watched)[-1] == ("DOWN", "HEALTHY")
    assert watched.ask_as_a_user() == (200, "Qwen3-4B")

    watched.done("sandbox", "kill", "lambda")
    until("users are held again", lambda: not watched.gateway()["enabled"])
    waiting = "SELECT state FROM decisions WHERE ended_at IS NULL"
    until("a decision waits", lambda: ("WAIT_APPROVAL",) in kept(watched, waiting))
    code, said = watched.run("status", "--sandbox")
    assert code == 25
    assert "users are HELD on the external API since" in said
    assert re.search(r"leads the watch; arbiter: folder .*refused it to a second", said)
    assert "with lambda DOWN: own GPU on coreweave in ~" in said
    approved = watched.done("approve")
    assert "held already" in approved  # the run adopted the hold
    assert watched.gateway()["enabled"]
    assert watched.ask_as_a_user() == (200, "Qwen3-4B")
    assert len(watched.instances("coreweave")) == 1
    until("the watch follows", lambda: ("RECOVERING", "SERVING_TARGET") in changes(watched))

    holds = [what for what in audited(watched) if what.startswith("hold: ")]
    once = ["hold: holding", "hold: held"]
    assert holds == [*once, "hold: releasing", "hold: released", *once]
    assert "sound" in watched.done("audit", "verify")
