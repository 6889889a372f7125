"""What a recovery brings back in tests: two trees and a model, below one folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drkit.clock import Clock
from drkit.config.sources import TreeSource, WeightsSource
from drkit.sources.interface import Cut

MODEL = "Qwen3-4B"


@dataclass(frozen=True, slots=True)
class Tree:
    """A source in a folder."""

    name: str
    root: Path
    clock: Clock
    kind: str = "tree"

    def cut(self, spool: Path, emit: Any) -> Cut:
        return Cut(self.root, self.clock.now())


def configured(folder: Path) -> tuple[dict[str, TreeSource], WeightsSource]:
    """The trees of the gateway's machine, and the weights of the one that is lost."""
    trees = {
        name: TreeSource(kind="tree", path=str(folder / name), lives_on="vm", rpo_min=60)
        for name in ("sncp", "history")
    }
    weights = WeightsSource(
        kind="weights",
        path=str(folder / "model"),
        model=MODEL,
        revision="r1",
        lives_on="lambda",
        stores=("gcs", "s3"),
    )
    return trees, weights
