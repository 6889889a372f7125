"""A deployment in a folder of its own, driven by the real command."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import real_command

PROJECT = Path(__file__).resolve().parents[2]
PATIENCE_S = 120


class Deployment:
    """A copy of the shipped configuration, with its sandbox below .drkit."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sandbox = folder / ".drkit" / "sandbox"
        if not (folder / "schedules.yaml").exists():
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(PROJECT / "schedules.yaml", folder)
            shutil.copytree(PROJECT / "runbooks", folder / "runbooks")

    def environment(self, **extra: str) -> dict[str, str]:
        return real_command.environment(**extra)

    def start(self, *words: str, **extra: str) -> subprocess.Popen[str]:
        return real_command.start(self.folder, *words, **extra)

    def run(self, *words: str, **extra: str) -> tuple[int, str]:
        return real_command.said(self.folder, *words, **extra)

    def done(self, *words: str, **extra: str) -> str:
        """What a command says in the sandbox; it has to end with 0."""
        code, out = self.run(*words, "--sandbox", **extra)
        assert code == 0, out + self._logs_of_runs()
        return out

    def _logs_of_runs(self) -> str:
        """What the runs' own processes said, for whoever has to find out why."""
        logs = sorted(self.sandbox.glob("runs/*/log"))
        return "".join(f"\n== {each}\n{each.read_text()[-4000:]}" for each in logs)

    def rows(self, *words: str) -> list[dict]:
        lines = self.done(*words, "--json").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def show(self) -> tuple[dict, list[dict]]:
        """The latest run, and its journal."""
        rows = self.rows("runs", "show")
        runs = [row for row in rows if row["message_type"] == "run"]
        return runs[0], [row for row in rows if row["message_type"] == "entry"]

    def evidence(self) -> dict:
        (page,) = self.sandbox.glob("evidence/*/evidence.json")
        return json.loads(page.read_bytes())

    def port(self, name: str) -> int:
        return int(json.loads((self.sandbox / "ports.json").read_bytes())[name])

    def gateway(self, name: str = "gateway") -> dict:
        """Where the gateway's own GPU is, and whether it sends users there."""
        url = f"http://127.0.0.1:{self.port(name)}/api/admin/config"
        with urllib.request.urlopen(url, timeout=30) as reply:
            return json.load(reply)["tiers"]["1"]

    def address(self, record: str = "llm.example.org") -> str | None:
        """What the authoritative DNS server says."""
        import dns.message
        import dns.query

        question = dns.message.make_query(record, "A")
        answer = dns.query.udp(question, "127.0.0.1", port=self.port("dns"), timeout=30)
        return answer.answer[0][0].address if answer.answer else None

    @contextlib.contextmanager
    def watched(self, prefix: str = "") -> Iterator[list[tuple[float, str, str | None]]]:
        """What the names say while something goes on: when the answer was there, which, what."""
        seen: list[tuple[float, str, str | None]] = []
        over = threading.Event()

        def look() -> None:
            is_last = False  # once more when it is over: a busy machine may look rarely
            while not is_last:
                is_last = over.wait(0.03)
                address = self.address(f"{prefix}llm.example.org")
                seen.append((time.time(), "dns", address))
                url = self.gateway(f"{prefix}gateway".replace("-", "_"))["url"]
                seen.append((time.time(), "gateway", url))

        with ThreadPoolExecutor(1) as pool:
            looking = pool.submit(look)
            try:
                yield seen
            finally:
                over.set()
        looking.result()  # a look that failed is a failure

    def ask_as_a_user(self) -> tuple[int, str]:
        """A careless check: status of a chat through the gateway, and the model that it names."""
        body = {"model": "Qwen3-4B", "messages": [{"role": "user", "content": "hi"}]}
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port('gateway')}/v1/chat/completions",
            json.dumps(body | {"max_tokens": 4}).encode(),
            {"content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=20) as reply:
            return reply.status, json.load(reply)["model"]

    def instances(self, target: str) -> list[Path]:
        return [p for p in (self.sandbox / "sites" / target).glob("*") if p.is_dir()]

    def stopped_run(self, command: subprocess.Popen[str]) -> int:
        """The pid of the run that `command` started, once it has halted at its DRKIT_BREAK."""
        until_s = time.monotonic() + PATIENCE_S
        while command.poll() is None and time.monotonic() < until_s:
            for pid, words in self.processes().items():
                with contextlib.suppress(OSError):
                    state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
                    if state == "T" and " execute " in words:
                        return pid
            time.sleep(0.05)
        command.kill()
        raise AssertionError(f"the run did not halt: {command.communicate()[0]}")

    def go_on(self, pid: int, command: subprocess.Popen[str]) -> tuple[int, str]:
        """Lets a halted run go on; how its command ends."""
        os.kill(pid, signal.SIGCONT)
        out, _ = command.communicate(timeout=PATIENCE_S)
        return command.returncode, out

    def processes(self) -> dict[int, str]:
        """Command lines of what runs in this folder or names it, by pid."""
        found = {}
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words = (
                    (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                )
                if str(self.folder) in words or str(self.folder) in os.readlink(entry / "cwd"):
                    found[int(entry.name)] = words
        return found

    def end(self) -> None:
        """Down, with nothing left running; its data would fill the disk, and is removed."""
        code, out = self.run("sandbox", "down", "--sandbox") if self.sandbox.exists() else (0, "")
        left = self.processes()
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.folder)
        assert (code, left) == (0, {}), out


Copied = Callable[[Path], contextlib.AbstractContextManager[Deployment]]


@pytest.fixture(scope="session")
def backed_up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder whose sandbox has its sources and one point, and is down. Only to be copied."""
    made = Deployment(tmp_path_factory.mktemp("backed-up"))
    made.done("backup")
    yield made.folder
    made.end()


@pytest.fixture(scope="session")
def copied(backed_up: Path) -> Copied:
    """Makes a deployment with a point already, down, in a folder that does not exist yet."""

    @contextlib.contextmanager
    def copy(folder: Path) -> Iterator[Deployment]:
        subprocess.run(["cp", "-a", "--reflink=auto", backed_up, folder], check=True)
        made = Deployment(folder)
        try:
            yield made
        finally:
            made.end()

    return copy


@pytest.fixture
def deployment(copied: Copied, tmp_path: Path) -> Iterator[Deployment]:
    with copied(tmp_path / "deployment") as made:
        yield made


@pytest.fixture
def bereft(deployment: Deployment) -> Deployment:
    """Up, and its primary killed."""
    deployment.done("sandbox", "up")
    deployment.done("sandbox", "kill", "lambda")
    return deployment


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Deployment]:
    """One in which nothing was done yet."""
    made = Deployment(tmp_path / "deployment")
    yield made
    made.end()


Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def drkit() -> Command:
    """Runs the command in the folder `cwd`, with no input: status, output and errors apart."""

    def run(
        *words: str, cwd: Path = PROJECT, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        return real_command.asked(cwd, *words, **environment)

    return run
