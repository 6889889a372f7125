"""Processes that race for a lease at a barrier, and one that is killed while it changes it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from drkit.clock import SystemClock
from drkit.coordination.arbiter import PlacedArbiter
from drkit.coordination.folder import FolderPlace
from drkit.coordination.sightings import MemorySightings

RACER = """
import sys, time
from datetime import datetime, UTC
from pathlib import Path
from drkit.clock import SystemClock
from drkit.coordination.arbiter import PlacedArbiter
from drkit.coordination.folder import FolderPlace
from drkit.coordination.interface import LeaseHeld, RoleRecord
from drkit.coordination.sightings import FolderSightings

folder, holder, rounds = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
arbiter = PlacedArbiter(
    FolderPlace(folder / "arbiter"), FolderSightings(folder / f"seen-{holder}"), SystemClock()
)
print("ready", flush=True)
sys.stdin.readline()
for _ in range(rounds):
    while True:
        try:
            lease = arbiter.acquire("chat", holder, ttl_s=60)
            break
        except LeaseHeld:
            time.sleep(0.001)
    role = arbiter.read_role("chat")
    record = RoleRecord("chat", (role.epoch if role else 0) + 1, holder, None,
                        datetime.now(UTC), None, ())
    lease = arbiter.renew(lease)
    arbiter.record_role(lease, record)
    with (folder / "epochs").open("a") as file:
        file.write(f"{record.epoch}\\n")
    arbiter.release(lease)
"""


def test_R1_processes_that_race_for_the_lease_never_record_one_epoch_twice(tmp_path: Path) -> None:
    rounds, racers = 15, []
    for holder in ("a", "b", "c"):
        argv = [sys.executable, "-c", RACER, str(tmp_path), holder, str(rounds)]
        racers.append(
            subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        )
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    for racer in racers:
        racer.communicate(timeout=60)
        assert racer.returncode == 0
    epochs = [int(line) for line in (tmp_path / "epochs").read_text().split()]
    # The file is written under the lease, so its order is the order of the epochs.
    assert epochs == list(range(1, 3 * rounds + 1))


KILLED = """
import sys
from pathlib import Path
from drkit.clock import SystemClock
from drkit.coordination.arbiter import PlacedArbiter
from drkit.coordination.folder import FolderPlace
from drkit.coordination.sightings import MemorySightings

arbiter = PlacedArbiter(FolderPlace(Path(sys.argv[1])), MemorySightings(), SystemClock())
lease = arbiter.acquire("chat", "run-1", ttl_s=3600)
print("held", flush=True)
while True:
    lease = arbiter.renew(lease)
"""


def test_a_holder_that_is_killed_leaves_a_whole_state_and_no_lock(tmp_path: Path) -> None:
    arbiter = PlacedArbiter(FolderPlace(tmp_path), MemorySightings(), SystemClock())
    for turn in range(8):
        argv = [sys.executable, "-c", KILLED, str(tmp_path)]
        holder = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        time.sleep(0.005 * turn)
        holder.kill()
        holder.wait()
        holder.stdout.close()
        # The same run, resumed: it takes its own lease again at once, whatever was being written.
        lease = arbiter.acquire("chat", "run-1", ttl_s=3600)
        arbiter.renew(lease)
