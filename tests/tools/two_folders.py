"""A deployment on two folders, and command lines that are typed into it, in this process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from drkit.cli.main import app
from drkit.repository import create
from drkit.repository.format import keys
from drkit.repository.format.keys import ScryptCost

STORES = """\
drkit: 1
stores:
  disk: {kind: folder, role: primary, path: disk}
  copy: {kind: folder, role: backup, path: copy}
repository: {password: "file:password"}
"""
"""How its `schedules.yaml` begins."""


def write_deployment(place: Path, config: str) -> None:
    (place / "password").write_text("correct horse")
    (place / "schedules.yaml").write_text(config)


def use_cheap_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a password costs is measured elsewhere."""
    cheap = ScryptCost(16, 8, 1)
    monkeypatch.setattr(keys, "calibrated_cost", lambda _clock: cheap)
    monkeypatch.setattr(create, "ScryptCost", lambda: cheap)


def type_in(place: Path, *words: str) -> Result:
    return CliRunner().invoke(app, [*words, "--config", str(place / "schedules.yaml")])


def answer(place: Path, *words: str, status: int = 0) -> list[dict[str, Any]]:
    """The lines that a command answers with --json; it has to end with `status`."""
    done = type_in(place, *words, "--json")
    assert done.exit_code == status, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]
