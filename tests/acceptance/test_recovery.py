"""The whole way, by the real command: back up, lose the primary, come up elsewhere, prove it."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]


class Deployment:
    """A copy of the shipped configuration in a folder of its own, driven by the real command."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copy(PROJECT / "schedules.yaml", folder)
        shutil.copytree(PROJECT / "runbooks", folder / "runbooks")
        self.sandbox = folder / ".drkit" / "sandbox"

    def environment(self, **extra: str) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        return {**kept, "PYTHONPATH": str(PROJECT), **extra}

    def start(self, *words: str, **extra: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "drkit", *words],
            cwd=self.folder,
            env=self.environment(**extra),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *words: str, **extra: str) -> tuple[int, str]:
        process = self.start(*words, **extra)
        out, _ = process.communicate(timeout=120)
        return process.returncode, out

    def rows(self, *words: str) -> list[dict]:
        code, out = self.run(*words, "--json", "--sandbox")
        assert code == 0, out
        return [json.loads(line) for line in out.splitlines() if line.startswith("{")]

    def show(self) -> tuple[dict, list[dict]]:
        rows = self.rows("runs", "show")
        runs = [row for row in rows if row["message_type"] == "run"]
        return runs[0], [row for row in rows if row["message_type"] == "entry"]

    def gateway(self, name: str = "gateway") -> dict:
        ports = json.loads((self.sandbox / "ports.json").read_bytes())
        with urllib.request.urlopen(f"http://127.0.0.1:{ports[name]}/api/admin/config") as reply:
            return json.load(reply)["tiers"]["1"]

    def instances(self, target: str) -> list[Path]:
        return [p for p in (self.sandbox / "sites" / target).glob("*") if p.is_dir()]

    def processes(self) -> list[str]:
        found = []
        for command in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                words = command.read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if str(self.folder) in words:
                    found.append(words)
        return found


@pytest.fixture
def deployment(tmp_path: Path):
    made = Deployment(tmp_path)
    yield made
    made.run("sandbox", "down", "--sandbox")
    assert made.processes() == []


def test_a_drill_proves_the_way_back_and_leaves_nothing(deployment) -> None:
    code, out = deployment.run("run-drill", "--sandbox")
    assert code == 0, out
    assert deployment.processes() == []
    run, entries = deployment.show()
    (page,) = deployment.sandbox.glob("evidence/*/evidence.json")
    evidence = json.loads(page.read_bytes())
    assert evidence["run_id"] == run["id"]
    assert deployment.instances("coreweave") == []
    done = [entry["step"] for entry in entries if entry["kind"] == "done"]
    for before, after in (
        ("acquire", "deploy"),
        ("fence", "point"),
        ("point", "restore"),
        ("deploy", "verify"),
        ("restore", "verify"),
        ("verify", "cutover"),
        ("cutover", "verify_public"),
    ):
        assert done.index(before) < done.index(after)


def test_without_credentials_a_drill_says_which_and_names_the_sandbox(deployment) -> None:
    code, out = deployment.run("run-drill")
    assert code == 2
    assert "$AWS_ACCESS_KEY_ID is not set" in out
    assert "--sandbox" in out
    assert "Traceback" not in out


def test_a_failover_moves_the_names_only_after_the_target_verified(deployment) -> None:
    assert deployment.run("sandbox", "up", "--sandbox")[0] == 0
    assert deployment.run("backup", "--sandbox")[0] == 0
    before = deployment.gateway()["url"]
    assert deployment.run("sandbox", "kill", "lambda", "--sandbox")[0] == 0
    process = deployment.start("failover", "--to", "coreweave", "--sandbox", "--yes")
    seen = []
    while process.poll() is None:
        seen.append((time.time(), deployment.gateway()["url"]))
        time.sleep(0.05)
    assert process.returncode == 0, process.communicate()[0]
    after = deployment.gateway()
    assert after["enabled"]
    assert after["url"] not in (None, before)
    run, entries = deployment.show()
    assert run["outcome"] == "committed"
    from datetime import datetime

    verified = next(
        datetime.fromisoformat(e["at"]).timestamp()
        for e in entries
        if e["step"] == "verify" and e["kind"] == "done"
    )
    assert all(url == before for at, url in seen if at < verified)
    assert len(deployment.instances("coreweave")) == 1


@pytest.mark.parametrize(
    "where", ["acquire:after-intent", "acquire:after-effect", "cutover:before-intent"]
)
def test_a_run_that_was_killed_is_resumed_to_one_verified_target(deployment, where: str) -> None:
    assert deployment.run("sandbox", "up", "--sandbox")[0] == 0
    assert deployment.run("backup", "--sandbox")[0] == 0
    assert deployment.run("sandbox", "kill", "lambda", "--sandbox")[0] == 0
    failover = ("failover", "--to", "coreweave", "--sandbox", "--yes")
    code, out = deployment.run(*failover, DRKIT_BREAK=f"{where}:kill")
    assert code == 25, out
    killed, _ = deployment.show()
    code, out = deployment.run("runs", "resume", "--sandbox")
    assert code == 0, out
    resumed, entries = deployment.show()
    assert resumed["plan_checksum"] == killed["plan_checksum"]
    assert resumed["outcome"] == "committed"
    assert len(deployment.instances("coreweave")) == 1
    assert any(entry["step"] == "verify" and entry["kind"] == "done" for entry in entries)


def test_a_flipped_bit_of_the_restored_model_fails_the_drill_and_moves_no_name(deployment) -> None:
    process = deployment.start("run-drill", "--sandbox", DRKIT_BREAK="verify:before-intent:stop")
    stopped = None
    until = time.time() + 90
    while stopped is None and process.poll() is None and time.time() < until:
        for status in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                pid, rest = status.parent.name, status.read_text().rpartition(")")[2]
                command = (status.parent / "cmdline").read_bytes()
                ours = str(deployment.folder) in os.readlink(f"/proc/{pid}/cwd")
                if ours and rest.split()[0] == "T" and b"execute" in command:
                    stopped = int(pid)
        time.sleep(0.1)
    assert stopped is not None
    (instance,) = deployment.instances("coreweave")
    shard = sorted((instance / "model").glob("*.safetensors"))[0]
    with shard.open("r+b") as file:
        file.seek(-1000, os.SEEK_END)
        byte = file.read(1)[0]
        file.seek(-1000, os.SEEK_END)
        file.write(bytes([byte ^ 1]))
    held = deployment.gateway("drill_gateway")["url"]
    os.kill(stopped, signal.SIGCONT)
    out, _ = process.communicate(timeout=90)
    assert process.returncode == 23, out
    (page,) = deployment.sandbox.glob("evidence/*/evidence.json")
    assert shard.name in page.read_text()
    _, entries = deployment.show()
    assert not any(e["step"] == "cutover" and e["kind"] in ("intent", "done") for e in entries)
    assert held is not None


def test_with_two_stores_gone_the_third_gives_everything_back(deployment, tmp_path) -> None:
    assert deployment.run("backup", "--sandbox")[0] == 0
    for name in ("s3", "b2"):
        shutil.rmtree(deployment.sandbox / "stores" / name)
    code, out = deployment.run("restore", "--target", "out", "--verify", "--sandbox")
    assert code == 0, out
    for name in ("sncp", "history", "weights"):
        source = deployment.sandbox / "sources" / name
        difference = ["diff", "-r", "--no-dereference", source, tmp_path / "out" / name]
        assert subprocess.run(difference).returncode == 0
