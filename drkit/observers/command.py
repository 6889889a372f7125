"""A program that gets the alert as JSON on its standard input; status 0 says that it was told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from drkit.io_policy import OBSERVER_CALL
from drkit.observers.interface import Alert, ObserverFailed, alert_json

_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR")
_MOST_SHOWN = 200


class Command:
    """`argv`, run in `folder` without a shell. It inherits nothing of drkit's secrets."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        *,
        folder: Path,
        limit_s: float = OBSERVER_CALL.total_s,
    ) -> None:
        self._name = name
        self._argv = tuple(argv)
        self._folder = folder
        self._limit_s = limit_s

    @property
    def name(self) -> str:
        return self._name

    def notice(self, alert: Alert) -> None:
        text = json.dumps(alert_json(alert)).encode() + b"\n"
        try:
            process = subprocess.Popen(
                self._argv,
                cwd=self._folder,
                env={name: os.environ[name] for name in _INHERITED if name in os.environ},
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            why = f"{self._argv[0]} cannot be started: {error.strerror or error}"
            raise self._failed(why) from error
        try:
            _, said = process.communicate(text, timeout=self._limit_s)
        except subprocess.TimeoutExpired:
            raise self._failed(f"it did not end within {self._limit_s:g} s") from None
        finally:
            with suppress(ProcessLookupError, PermissionError):  # and whatever it started
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            for pipe in (process.stdin, process.stderr):
                if pipe is not None:
                    with suppress(OSError):
                        pipe.close()
        if process.returncode:
            shown = " ".join(said.decode(errors="replace").split())[-_MOST_SHOWN:]
            raise self._failed(f"it ended with {process.returncode}{f': {shown}' if shown else ''}")

    def _failed(self, what: str) -> ObserverFailed:
        return ObserverFailed(
            f"{self._name}: {what}",
            hint="run it by hand with an alert on its standard input; it is told again later",
        )
