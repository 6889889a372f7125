"""Mode auto with a warm standby: nobody is asked once two points of view see the primary dead."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from daemons import until

if TYPE_CHECKING:
    from conftest import Deployment

PATIENCE_S = 90
WITNESS = """\
drkit: 1
listen: 127.0.0.1:{port}
token: file:{sandbox}/witness-token
every: 1s
probe: {{down_after: 2, down_after_s: 1s, suspect_every: 1s, up_after: 2, known_after: 1}}
reference_hosts: ["127.0.0.1:{dns}"]
watches:
  assistant: {{site: lambda, endpoint: "{primary}", model: Qwen3-4B}}
"""
DECIDE = """\
decide:
  mode: auto
  witnesses:
    far: {{url: "https://witness.example.org", token: env:T, verifying_key: "{key}"}}
probe: {{up_after: 2, known_after: 1}}
schedules:
  probe: {{run: probe, every: 2s, deadline: 1m}}
"""


@contextlib.contextmanager
def running(deployment: Deployment, *words: str) -> Iterator[subprocess.Popen[str]]:
    """The command, until the block ends; it has to end well when it is told to."""
    process = subprocess.Popen(
        [sys.executable, "-m", "drkit", *words],
        cwd=deployment.folder,
        env=deployment.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, said


@pytest.fixture
def warm(deployment: Deployment) -> Deployment:
    """Up, with a standby; `witness.yaml` describes a witness, which does not run yet."""
    path = deployment.folder / "schedules.yaml"
    text = re.sub(r"(?ms)^schedules:\n.*", "", path.read_text())
    declared = "  coreweave:\n    standby: true\n    endpoint: http://198.51.100.7:8000\n"
    text = text.replace("  coreweave:\n", declared, 1)
    path.write_text(text)
    deployment.done("sandbox", "up")
    watch = deployment.folder / "witness.yaml"
    known = {
        "port": deployment.port("witness"),
        "dns": deployment.port("dns"),
        "sandbox": deployment.sandbox,
        "primary": deployment.gateway()["url"],
    }
    watch.write_text(WITNESS.format(**known))
    code, key = deployment.run("witness", "--show-key")
    assert code == 0, key
    path.write_text(text + DECIDE.format(key=key.strip()))
    return deployment


def kept(deployment: Deployment, query: str) -> list[tuple]:
    """What the state holds now: asked often, so not by a command."""
    path: Path = deployment.sandbox / "state.sqlite"
    with contextlib.suppress(sqlite3.OperationalError):  # it is not there yet
        with contextlib.closing(sqlite3.connect(path)) as connection:
            return connection.execute(query).fetchall()
    return []


def known(deployment: Deployment) -> bool:
    """The service was seen healthy, and the standby's proof and the witness are there."""
    _, out = deployment.run("status", "--sandbox", "--json")
    rows = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    return any(row.get("not_auto") == [] for row in rows)


RUNS = "SELECT state FROM runs"
WAITING = "SELECT state FROM decisions WHERE ended_at IS NULL"


@pytest.mark.timeout(300)
def test_H3_two_who_see_it_dead_lead_users_to_the_standby_and_one_alone_only_holds_them(
    warm: Deployment,
) -> None:
    home = warm.gateway()["url"]
    with running(warm, "daemon", "--sandbox"):
        with running(warm, "witness"):
            until("auto is available", lambda: known(warm))
        warm.done("sandbox", "kill", "lambda")
        until("users are held", lambda: not warm.gateway()["enabled"])
        until("a decision waits", lambda: ("WAIT_APPROVAL",) in kept(warm, WAITING))
        _, said = warm.run("status", "--sandbox")
        assert "fewer than two vantage points answer" in said
        assert kept(warm, RUNS) == []
        assert warm.ask_as_a_user() == (200, "claude-sonnet-4-5")

        with running(warm, "witness"):
            until("users are on the standby", lambda: warm.gateway()["enabled"])
            until("it is committed", lambda: kept(warm, RUNS) == [("COMMITTED",)])

    assert warm.gateway()["url"] not in (home, None)
    assert warm.ask_as_a_user() == (200, "Qwen3-4B")
    assert warm.instances("coreweave") == []
    run, entries = warm.show()
    assert run["target"] == "coreweave"
    assert {"standby", "verify", "cutover", "commit"} <= {entry["step"] for entry in entries}
    rows = warm.rows("audit", "export")
    what = [row["what"] for row in rows if row["message_type"] == "audit_entry"]
    assert [each for each in what if "hold: " in each] == ["hold: holding", "hold: held"]
    assert "run failover" in what
    assert "approve" not in what
