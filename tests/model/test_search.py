"""Every state that can be reached within the bounds keeps every rule, and none is a dead end.

Bounds of each search are in its row; the numbers that it printed are shown with `pytest -s`. Deaths
have a file of their own, so that two cores are busy; the larger ones run in `make soak`.
"""

from __future__ import annotations

import pytest
from failover_model.parts import Bounds
from failover_model.search import Found, search, walks

QUIET = {"stalls": 0, "blinks": 0, "longs": 0, "falls": 0, "crashes": (0, 0)}
CI = {
    "two faults and two words of an operator": Bounds(runs=1, **{**QUIET, "acts": 2}),
    "an hour passes": Bounds(runs=1, **{**QUIET, "longs": 1, "faults": 1, "acts": 2}),
    "the primary fails": Bounds(runs=1, **{**QUIET, "falls": 1, "faults": 1, "acts": 1}),
    "nobody is asked": Bounds(
        runs=1,
        mode="auto",
        **{**QUIET, "falls": 1, "blinks": 1, "crashes": (1, 0), "faults": 0, "acts": 0},
    ),
    "nobody is asked, of a service never seen healthy": Bounds(
        runs=1, mode="auto", known=False, **{**QUIET, "blinks": 1, "faults": 0, "acts": 1}
    ),
    "two runs in one database": Bounds(runs=2, **{**QUIET, "faults": 0}),
    "two drkits with a database each": Bounds(
        runs=2, shared=False, **{**QUIET, "crashes": (1, 0), "faults": 0, "acts": 2}
    ),
}

FULL = Bounds(runs=1, blinks=0)
SOAK = {
    "two drkits, 1 crash each, 2 faults, 1 return, 3 acts": FULL,
    "a second crash": Bounds(runs=1, blinks=0, crashes=(2, 1), faults=1, acts=2),
    "nobody is asked": Bounds(mode="auto", runs=2, faults=1, acts=1, blinks=2),
    "two drkits with a database each": Bounds(shared=False, runs=2, faults=1, acts=3, blinks=0),
}

DEEP = {
    "one run": Bounds(runs=1, blinks=0),
    "two runs, nobody is asked": Bounds(mode="auto", runs=2),
    "two drkits with a database each": Bounds(shared=False, runs=2, blinks=0),
    "more of everything": Bounds(
        runs=2, slow=True, crashes=(2, 2), stalls=2, faults=3, acts=5, returns=2, falls=2, longs=2
    ),
}


def _kept(found: Found) -> None:
    print(f"\n{found.bounds}\n{found}")
    assert found.broken is None, str(found)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("what", CI)
def test_every_reachable_state_keeps_every_rule(what: str) -> None:
    found = search(CI[what], graph=True)
    _kept(found)
    assert found.whole


@pytest.mark.timeout(600)
@pytest.mark.parametrize("what", DEEP)
def test_long_ways_through_all_trouble_at_once_keep_every_rule(what: str) -> None:
    _kept(walks(DEEP[what], number=300, seed=1))


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("what", SOAK)
def test_every_reachable_state_keeps_every_rule_with_more_trouble(what: str) -> None:
    _kept(search(SOAK[what], most_states=12_000_000, most_s=900))


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("what", DEEP)
def test_many_long_ways_through_all_trouble_at_once_keep_every_rule(what: str) -> None:
    _kept(walks(DEEP[what], number=100_000, seed=2))
