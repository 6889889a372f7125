"""Limits alert. No code on their way knows what moves traffic, or what starts a run."""

import pytest
from source_tree import imports

ON_THEIR_WAY = (
    "drkit/health/measures/limits.py",
    "drkit/health/measures/default_limits.py",
    "drkit/operations/alerts.py",
    "drkit/operations/around.py",
    "drkit/operations/measures.py",
    "drkit/observers/tell.py",
    "drkit/wiring/around.py",
    "drkit/cli/watch/around.py",
)
MOVERS = ("drkit.traffic", "drkit.runs", "drkit.coordination", "drkit.operations.decide")
MOVERS += ("drkit.operations.protect", "drkit.compute.catalog")


@pytest.mark.parametrize("module", ON_THEIR_WAY)
def test_H4_limits_never_move_traffic(module: str) -> None:
    assert [name for name, _ in imports(module) if name.startswith(MOVERS)] == []
