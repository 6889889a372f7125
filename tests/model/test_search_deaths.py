"""Every state that can be reached when a drkit dies, or stands still, keeps every rule."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from failover_model.parts import Bounds
from failover_model.search import search

QUIET = {"stalls": 0, "blinks": 0, "longs": 0, "falls": 0, "crashes": (0, 0)}
DEATHS = {
    "a drkit dies": Bounds(runs=1, **{**QUIET, "crashes": (1, 0), "faults": 1, "acts": 2}),
    "two drkits die": Bounds(runs=1, **{**QUIET, "crashes": (1, 1), "faults": 1, "acts": 2}),
    "a drkit stands still": Bounds(runs=1, **{**QUIET, "stalls": 1, "faults": 1, "acts": 2}),
}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("what", DEATHS)
def test_every_reachable_state_keeps_every_rule(
    what: str, record_property: Callable[[str, object], None]
) -> None:
    found = search(DEATHS[what], graph=True)
    record_property("searched", f"{what}: {found}")
    assert found.broken is None, f"{found.bounds}\n{found}"
    assert found.whole
