"""The commands of drkit and its peers, as cases start them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.case import Bench, Command
from bench.places import PROJECT

PASSWORD = "a password of benchmarks"
_SECRET = {"RESTIC_PASSWORD": PASSWORD}


def drkit(config: Path, *arguments: str | Path) -> Command:
    """`drkit ARGUMENTS` with the deployment `config` (see `deployment`)."""
    argv = (sys.executable, "-m", "drkit", *arguments, "--config", config, "--quiet")
    return Command(argv, {**_SECRET, "PYTHONPATH": str(PROJECT)}, config.parent)


def deployment(
    root: Path, sources: Mapping[str, Path], *, stores: Sequence[str] = ("gcs",)
) -> Path:
    """Writes root/schedules.yaml with folder stores below `root` and makes the repository."""
    root.mkdir(parents=True, exist_ok=True)
    config = root / "schedules.yaml"
    content = {
        "drkit": 1,
        "stores": {
            name: {"kind": "folder", "role": "backup", "path": str(root / name)} for name in stores
        },
        "repository": {"password": "env:RESTIC_PASSWORD"},
        "sources": {
            name: {"kind": "tree", "path": str(path), "lives_on": "vm"}
            for name, path in sources.items()
        },
        "sites": {"vm": {}},
    }
    config.write_text(json.dumps(content))  # JSON is YAML
    run(drkit(config, "init"))
    return config


def restic(bench: Bench, repository: Path, *arguments: str | Path) -> Command:
    """`restic ARGUMENTS` of the newest restic there is, without its cache."""
    program = bench.restic()
    assert program is not None
    return Command((program, "-r", repository, "--no-cache", "-q", *arguments), _SECRET)


def borg(bench: Bench, *arguments: str | Path) -> Command:
    env = {
        "BORG_PASSPHRASE": PASSWORD,
        "BORG_BASE_DIR": str(bench.root / "borg-home"),
        "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
        "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes",
    }
    return Command((bench.peers["borg"], *arguments), env, bench.root)


def rclone(bench: Bench, *arguments: str | Path) -> Command:
    return Command((bench.peers["rclone"], "--config", bench.root / "rclone.conf", *arguments))


def run(command: Command) -> str:
    """Runs a command unmeasured, for preparation; its output. Raises when it fails."""
    done = subprocess.run(
        [str(part) for part in command.argv],
        env={**os.environ, **command.env},
        cwd=command.cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{command.argv}: {done.stdout}{done.stderr}")
    return done.stdout
