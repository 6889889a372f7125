"""The look at a store after each deletion of a prune: stock restic where it is found, else drkit's
own check; the record says which (S6).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, runtime_checkable

from drkit.io_policy import RESTIC_CHECK
from drkit.repository.check.structure import check_structure
from drkit.repository.format.layout import ROOT
from drkit.repository.repository import Repository
from drkit.stores.interface import Store

OWN = "drkit"
_LINES_KEPT = 10


@runtime_checkable
class _InFolder(Protocol):
    @property
    def root(self) -> Path: ...


def checker(password: str, work_dir: Path, *, restic: str | None = None) -> CheckStores:
    """What looks at a store: `restic` (default: the one on PATH) where it can reach the store."""
    return CheckStores(password, work_dir, restic or shutil.which("restic"))


class CheckStores:
    """Called with a repository and a store: who looked, and what is wrong there.

    The binary reads folder stores only: it is given no cloud credential.
    """

    def __init__(self, password: str, work_dir: Path, restic: str | None) -> None:
        self._password = password
        self._work_dir = work_dir
        self._restic = restic

    def __call__(self, repository: Repository, store: Store) -> tuple[str, tuple[str, ...]]:
        own = check_structure(repository, store)
        if own or self._restic is None or not isinstance(store, _InFolder):
            return OWN, own
        try:
            return self._ask_restic(self._restic, store.root)
        except (OSError, subprocess.SubprocessError) as error:
            return f"{OWN} (restic could not be run: {error.__class__.__name__})", own

    def _ask_restic(self, restic: str, root: Path) -> tuple[str, tuple[str, ...]]:
        self._work_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._work_dir) as folder:
            environment = _environment(self._password, Path(folder))
            version = subprocess.run(
                [restic, "version"], env=environment, capture_output=True, text=True, timeout=30
            )
            done = subprocess.run(
                [restic, "-r", str(root / ROOT), "--no-cache", "--no-lock", "check"],
                env=environment,
                capture_output=True,
                text=True,
                timeout=RESTIC_CHECK.total_s,
            )
        who = " ".join(version.stdout.split()[:2]) or "restic"
        if done.returncode == 0:
            return who, ()
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        return who, tuple(lines[-_LINES_KEPT:]) or (f"exit status {done.returncode}",)


def _environment(password: str, folder: Path) -> Mapping[str, str]:
    """No setting of the person who runs this reaches restic, and its files stay in `folder`."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    return {**kept, "RESTIC_PASSWORD": password, "HOME": str(folder), "TMPDIR": str(folder)}
