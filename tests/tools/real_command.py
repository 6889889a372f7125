"""The real command, as a process of its own: what it says, and how it ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[2]
PATIENCE_S = 120


def environment(**extra: str) -> dict[str, str]:
    """Nothing of who runs the tests but where programs and the home are."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return {**kept, "PYTHONPATH": str(PROJECT), **extra}


def start(folder: Path, *words: str, **extra: str) -> subprocess.Popen[str]:
    """Runs it in `folder`; errors come with what it prints, in their order."""
    return subprocess.Popen(
        [sys.executable, "-m", "drkit", *words],
        cwd=folder,
        env=environment(**extra),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def said(folder: Path, *words: str, **extra: str) -> tuple[int, str]:
    """How it ended, and all that it said."""
    process = start(folder, *words, **extra)
    try:
        out, _ = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
    return process.returncode, out


def asked(folder: Path, *words: str, **extra: str) -> subprocess.CompletedProcess[str]:
    """How it ended; what it printed and its errors apart."""
    return subprocess.run(
        [sys.executable, "-m", "drkit", *words],
        cwd=folder,
        env=environment(**extra),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
