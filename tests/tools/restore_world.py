"""Restoring the newest point, and every byte that is written on the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from drkit.repository.restore import files as restore_files
from drkit.repository.restore.restore import RestoreOptions, RestoreReport, restore_tree


def back(three: Any, into: Path, options: RestoreOptions = RestoreOptions()) -> RestoreReport:
    repository = three.open()
    node = repository.find_node(three.latest(repository).snapshot, "/sncp")
    return restore_tree(repository, node, into, three.emit, options)


def patch_writing(patched: pytest.MonkeyPatch, instead: Any) -> None:
    """Every byte of every file is written by `instead`."""
    patched.setattr(restore_files, "write_piece", instead)
