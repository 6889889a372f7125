"""What a new machine does: the weights by ticket, every byte checked, then the server."""

import os
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from drkit.clock import SystemClock
from drkit.events import discard
from drkit.mirror.ticket import Ticket, mint_ticket, seal_ticket
from drkit.mirror.write import mirror_weights
from drkit.stores.folder import FolderStore

PROJECT = Path(__file__).resolve().parents[2]
KEY = bytes(range(32))
SHARD = b"not tensors, but bytes of which each counts" * 1000


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore("disk", tmp_path / "store")


@pytest.fixture
def ticket(tmp_path: Path, store: FolderStore) -> Ticket:
    model = tmp_path / "model"
    model.mkdir()
    (model / "shard.bin").write_bytes(SHARD)
    (model / "config.json").write_text("{}")
    report = mirror_weights(
        model, model="tiny", revision="1", stores=[store], cache=tmp_path / "cache", emit=discard
    )
    return mint_ticket([store], report.manifest, expires_s=600, clock=SystemClock())


def start(tmp_path: Path, *, wait_s: float = 30, **environment: str) -> "subprocess.Popen[str]":
    server = 'echo "pid $$ key ${DRKIT_TICKET_KEY:-none} in $(ls weights | tr "\\n" " ")"'
    argv = [sys.executable, "-m", "drkit", "bootstrap", "-q"]
    argv += ["--ticket", "ticket", "--into", "weights", "--wait", str(wait_s)]
    return subprocess.Popen(
        [*argv, "--", "sh", "-c", server],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(PROJECT), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def put(tmp_path: Path, ticket: Ticket) -> None:
    (tmp_path / "new").write_bytes(seal_ticket(ticket, KEY))
    (tmp_path / "new").replace(tmp_path / "ticket")


def test_it_waits_for_the_ticket_fetches_and_becomes_the_server(
    tmp_path: Path, ticket: Ticket
) -> None:
    machine = start(tmp_path, DRKIT_TICKET_KEY=KEY.hex())
    put(tmp_path, replace(ticket, expires_at=datetime(2020, 1, 1, tzinfo=UTC)))
    time.sleep(1)
    assert machine.poll() is None, "an expired ticket is waited out"
    put(tmp_path, ticket)
    out, err = machine.communicate(timeout=60)

    assert machine.returncode == 0, err
    assert out.splitlines()[-1] == f"pid {machine.pid} key none in config.json shard.bin "
    assert (tmp_path / "weights" / "shard.bin").read_bytes() == SHARD


def test_a_damaged_byte_starts_no_server(
    tmp_path: Path, ticket: Ticket, store: FolderStore
) -> None:
    (stored,) = (tmp_path / "store").rglob("shard.bin")
    stored.chmod(0o600)
    stored.write_bytes(b"X" + SHARD[1:])
    put(tmp_path, ticket)

    machine = start(tmp_path, DRKIT_TICKET_KEY=KEY.hex())
    out, err = machine.communicate(timeout=60)

    assert machine.returncode == 22
    assert "shard.bin" in err
    assert "pid" not in out
    assert not (tmp_path / "weights" / "shard.bin").exists()


def test_another_key_opens_nothing(tmp_path: Path, ticket: Ticket) -> None:
    put(tmp_path, ticket)

    machine = start(tmp_path, DRKIT_TICKET_KEY=bytes(32).hex())
    out, _ = machine.communicate(timeout=60)

    assert (machine.returncode, out) == (12, "")


def test_a_key_that_is_none_is_refused_and_not_repeated(tmp_path: Path) -> None:
    machine = start(tmp_path, DRKIT_TICKET_KEY="5ecret-5ecret")
    _, err = machine.communicate(timeout=60)

    assert machine.returncode == 2
    assert "DRKIT_TICKET_KEY" in err
    assert "5ecret" not in err


def test_no_ticket_in_time_is_an_unreachable_place(tmp_path: Path) -> None:
    machine = start(tmp_path, wait_s=0.5, DRKIT_TICKET_KEY=KEY.hex())
    _, err = machine.communicate(timeout=60)

    assert machine.returncode == 20
    assert "drkit runs resume" in err
