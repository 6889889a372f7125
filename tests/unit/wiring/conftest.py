"""Scenes of the watch, on a deployment whose standby is another server."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from round_scene import AUTO, GPU, RUNBOOK, SPARE, Make, Scene


@pytest.fixture
def scene(open_app: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    shutil.copy(RUNBOOK, tmp_path / "runbooks" / "down.yaml")
    text = (tmp_path / "runbooks" / "down.yaml").read_text()
    (tmp_path / "runbooks" / "down.yaml").write_text(text.replace("lambda", "gpu"))
    monkeypatch.delenv("DRKIT_LEADER", raising=False)

    def make(decide: dict[str, Any] | None = None, **target: Any) -> Scene:
        spare = {"provider": GPU, "candidates": [{"gpu": "L40", "max_usd_per_hour": 1}]}
        spare |= {"standby": True, "endpoint": SPARE, **target}
        spare["limits"] = {"usd_per_hour": 2, "usd_per_run": 5}
        service = {"name": "assistant", "model": "m", "weights": "model", "primary": "gpu"}
        service["external"] = {"model": "ext"}  # type: ignore[assignment]
        app = open_app(service=service, targets={"spare": spare}, decide=decide or AUTO)
        return Scene(app, monkeypatch)

    return make
