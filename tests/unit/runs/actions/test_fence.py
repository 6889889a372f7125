"""What has to be fenced: whatever can still be written to, and weights cannot."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from drkit.config.load import load_config
from drkit.config.models import Config
from drkit.errors import NeedsOperator
from drkit.runs.actions.fence import ACTION

SHIPPED = load_config(Path(__file__).parents[4] / "schedules.yaml")
PRIVATE = {"kind": "weights", "mode": "repository", "path": "/srv/ours", "lives_on": "lambda"}
TREE = {"kind": "tree", "path": "/srv/notes", "lives_on": "lambda"}


def fence(**sources: Any) -> Any:
    raw = SHIPPED.model_dump(mode="json")
    raw["sources"] |= sources
    plan = SimpleNamespace(primary="lambda")
    config = Config.model_validate(raw)
    context = SimpleNamespace(plan=plan, config=config, namespace="production")
    return ACTION.run(cast(Any, SimpleNamespace(arguments={})), cast(Any, context))


def test_weights_on_the_primary_are_nothing_to_fence_wherever_they_are_kept() -> None:
    assert "nothing to fence" in fence(ours=PRIVATE).proof


def test_a_tree_there_is() -> None:
    with pytest.raises(NeedsOperator, match="notes"):
        fence(ours=PRIVATE, notes=TREE)
