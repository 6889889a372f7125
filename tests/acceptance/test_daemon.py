"""The real daemon, with real children and real signals."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]

CONFIG = """\
drkit: 1
stores:
  disk: {kind: folder, role: primary, path: %(root)s/store}
repository:
  password: file:%(root)s/password
sources:
  notes: {kind: tree, path: %(root)s/notes}
schedules:
  point: {run: backup, every: 1h}
  prune: {run: prune, cron: "40 5 * * 0"}
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.md").write_text("what must not be lost\n")
    (tmp_path / "password").write_text("a password of the test")
    (tmp_path / "password").chmod(0o600)
    (tmp_path / "schedules.yaml").write_text(CONFIG % {"root": tmp_path})
    return tmp_path


class Running:
    """A daemon; `until` reads its lines up to one that holds these words."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.lines: list[str] = []

    def until(self, words: str) -> str:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line.rstrip())
            if words in line:
                return line
        raise AssertionError(f"no {words!r} in {self.lines}")

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        _, err = self.process.communicate(timeout=30)
        self.lines += err.splitlines()
        return self.process.returncode


def start(argv: list[str], cwd: Path) -> Running:
    return Running(
        subprocess.Popen(
            argv,
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": str(PROJECT), "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
    )


@pytest.fixture
def repository(root: Path) -> Path:
    """The one store's, empty as `init` makes it."""
    argv = [sys.executable, "-m", "drkit", "init", "-q"]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    subprocess.run(argv, cwd=root, env=environment, check=True, timeout=60)
    return root / "store" / "repository"


@pytest.fixture
def daemon(repository: Path, root: Path) -> Iterator[Running]:
    running = start([sys.executable, "-m", "drkit", "daemon"], root)
    yield running
    running.process.kill()
    running.process.wait()


def test_the_daemon_backs_up_at_its_start_and_ends_with_0(daemon: Running, root: Path) -> None:
    daemon.until("point: done in")

    assert daemon.end() == 0
    assert not any("left out" in line for line in daemon.lines)
    assert daemon.lines[-1] == "daemon: stopped"
    assert len(list((root / "store" / "repository" / "snapshots").iterdir())) == 1


def test_a_second_daemon_is_refused_and_the_first_goes_on(daemon: Running, root: Path) -> None:
    daemon.until("jobs; process")

    second = start([sys.executable, "-m", "drkit", "daemon"], root)
    _, err = second.process.communicate(timeout=60)

    assert second.process.returncode == 24
    assert f"process {daemon.process.pid} holds" in err
    assert daemon.process.poll() is None


def test_a_backup_that_is_overdue_at_the_start_runs_at_once_and_only_then(
    repository: Path, root: Path
) -> None:
    nightly = '  nightly: {run: backup, cron: "40 5 1 1 *"}\n'
    config = CONFIG[: CONFIG.index("  point:")] % {"root": root} + nightly
    strict = config.replace("kind: tree,", "kind: tree, rpo_min: 0.001,")
    for text, said, done, points in (
        (config, "there is no point of notes yet: it runs at once", True, 1),
        (config, "nightly: first runs at 20", False, 1),
        (strict, "may be lost: it runs at once", True, 2),
    ):
        (root / "schedules.yaml").write_text(text)
        running = start([sys.executable, "-m", "drkit", "daemon"], root)
        running.until(said)
        if done:
            running.until("nightly: done in")
        assert running.end() == 0
        assert len(list((repository / "snapshots").iterdir())) == points


LISTENS = "trap 'echo asked >>asked; kill $!; exit 0' TERM; wait"

# A daemon of its own making, whose one job starts a process, says its pid, and never ends.
SCRIPT = """
import sys
from pathlib import Path
from drkit.clock import SystemClock
from drkit.service.children import ProcessChild
from drkit.service.daemon import Daemon
from drkit.service.jobs import PlannedJob

folder = Path(sys.argv[1])
job = PlannedJob("hangs", (), every_s=1.0, cron=None, deadline_s=float(sys.argv[2]))
shell = "echo $$ >>pids; sleep 600 & trap 'echo asked >>asked; kill $!; exit 0' TERM; wait"
Daemon(
    [job], [], folder=folder, clock=SystemClock(),
    launch=lambda job, log: ProcessChild(["bash", "-c", shell], log), grace_s=0.5,
    emit=lambda note: print(f"{note.subject}: {note.text}", file=sys.stderr),
).run()
"""


@pytest.fixture
def hanging(tmp_path: Path) -> Iterator[Running]:
    running = start([sys.executable, "-c", SCRIPT, str(tmp_path / "state"), "3600"], tmp_path)
    yield running
    running.process.kill()
    running.process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_asks_the_children_to_end_and_waits_for_them(
    number: signal.Signals, hanging: Running, tmp_path: Path
) -> None:
    pid = wait_for(tmp_path / "pids")

    assert hanging.end(number) == 0
    assert (tmp_path / "asked").read_text() == "asked\n"
    assert not alive(pid)
    assert any("hangs: stopped with the daemon" in line for line in hanging.lines)


def test_a_job_is_never_started_twice_at_once(hanging: Running, tmp_path: Path) -> None:
    hanging.until("hangs: still runs; this time is left out")

    assert (tmp_path / "pids").read_text().count("\n") == 1
    assert hanging.end() == 0


@pytest.mark.parametrize("trap", [LISTENS, "trap '' TERM; wait"], ids=["listens", "deaf"])
def test_a_job_is_ended_at_its_deadline_with_all_it_started(tmp_path: Path, trap: str) -> None:
    script = SCRIPT.replace(LISTENS, trap)
    running = start([sys.executable, "-c", script, str(tmp_path / "state"), "2"], tmp_path)
    try:
        running.until("hangs: stopped at its deadline")
        pid = int((tmp_path / "pids").read_text().split()[0])
        assert not alive(pid)
    finally:
        assert running.end() == 0
    assert (tmp_path / "asked").exists() == (trap == LISTENS)


def wait_for(path: Path) -> int:
    """The number in `path`, as soon as it is there."""
    for _ in range(300):
        if path.exists() and re.search(r"\d+\n", path.read_text()):
            return int(path.read_text().split()[0])
        time.sleep(0.1)
    raise AssertionError(f"{path} did not appear")


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()
