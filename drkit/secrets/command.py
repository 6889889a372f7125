"""Secrets that a program prints: a password manager, an HSM's tool. `cmd:PROGRAM ARGUMENT ...`"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from contextlib import suppress

from drkit.io_policy import SECRET_LOOKUP
from drkit.secrets.resolvers import MOST_BYTES, Absent, Places, as_secret


def from_command(line: str, places: Places) -> str | Absent:
    """What the program prints, without trailing newlines. No shell reads `line`, its words are
    split as a shell would; it runs in the configuration's folder, without a terminal, and is
    stopped with all it started after `SECRET_LOOKUP.total_s`. What it says on standard error is
    not repeated: it might be the secret.
    """
    try:
        argv = shlex.split(line)
    except ValueError as error:
        return Absent(f"cmd: cannot be read as words ({error})")
    if not argv:
        return Absent("cmd: names no program")
    shown = f"cmd:{argv[0]}"
    try:
        process = subprocess.Popen(
            argv,
            cwd=places.root,
            env=dict(places.environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        return Absent(f"{shown} cannot be started: {error.strerror}")
    try:
        printed, _ = process.communicate(timeout=SECRET_LOOKUP.total_s)
    except subprocess.TimeoutExpired:
        return Absent(f"{shown} did not end within {SECRET_LOOKUP.total_s:.0f} s")
    finally:
        # Also what it left running, which may hold the pipe open.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
    if process.returncode != 0:
        return Absent(f"{shown} ended with status {process.returncode}")
    if len(printed) > MOST_BYTES:
        return Absent(f"{shown} printed more than any secret is long")
    return as_secret(printed, shown)
