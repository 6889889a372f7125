"""Limits alert. No code on their way knows what moves traffic, or what starts a run."""

import pytest
from source_tree import imports

ON_THEIR_WAY = (
    "drkit/health/measures/limits.py",
    "drkit/health/measures/default_limits.py",
    "drkit/operations/alerts/alerts.py",
    "drkit/operations/alerts/around.py",
    "drkit/operations/alerts/measures.py",
    "drkit/observers/tell.py",
    "drkit/wiring/around.py",
    "drkit/cli/watch/around.py",
)
MOVERS = ("drkit.traffic", "drkit.runs", "drkit.coordination", "drkit.operations.watch.decide")
MOVERS += ("drkit.operations.watch.protect", "drkit.compute.catalog")


@pytest.mark.parametrize("module", ON_THEIR_WAY)
def test_H4_limits_never_move_traffic(module: str) -> None:
    assert [name for name, _ in imports(module) if name.startswith(MOVERS)] == []
