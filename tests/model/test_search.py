"""Every state that can be reached within the bounds keeps every rule, and none is a dead end.

Bounds of each search are in its row; what it saw is printed at the end. Deaths have a file of their
own, so that two cores are busy; all that may happen at once is searched whole in `make soak`.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from failover_model.parts import Bounds
from failover_model.search import Found, search, walks

QUIET = {"stalls": 0, "blinks": 0, "longs": 0, "falls": 0, "crashes": (0, 0)}
CI = {
    "two faults and two words of an operator": Bounds(runs=1, **{**QUIET, "acts": 2}),
    "an hour passes": Bounds(runs=1, **{**QUIET, "longs": 1, "faults": 1, "acts": 2}),
    "the primary fails": Bounds(runs=1, **{**QUIET, "falls": 1, "faults": 1, "acts": 2}),
    "nobody is asked": Bounds(
        runs=1,
        mode="auto",
        **{**QUIET, "falls": 1, "blinks": 1, "crashes": (1, 0), "faults": 0, "acts": 0},
    ),
    "nobody is asked, of a service never seen healthy": Bounds(
        runs=1, mode="auto", known=False, **{**QUIET, "blinks": 1, "faults": 0, "acts": 1}
    ),
    "two runs in one database": Bounds(runs=2, **{**QUIET, "faults": 0, "crashes": (1, 0)}),
    "two drkits with a database each": Bounds(
        runs=2, shared=False, **{**QUIET, "crashes": (1, 0), "faults": 0, "acts": 2}
    ),
}

WHOLE = {
    "2 crashes, 2 faults, 1 fall and return, 3 words": Bounds(runs=1, stalls=0, blinks=0, longs=0),
    "a drkit dies, one stands still, an hour passes": Bounds(
        runs=1, blinks=0, falls=0, faults=1, acts=2, crashes=(1, 0)
    ),
}
BOXED = {
    "all of it together": Bounds(runs=1, blinks=0),
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


Saw = Callable[[str, object], None]


def _kept(found: Found, what: str, saw: Saw) -> None:
    saw("searched", f"{what}: {found}")
    assert found.broken is None, f"{found.bounds}\n{found}"


@pytest.mark.timeout(600)
@pytest.mark.parametrize("what", CI)
def test_every_reachable_state_keeps_every_rule(what: str, record_property: Saw) -> None:
    found = search(CI[what], graph=True)
    _kept(found, what, record_property)
    assert found.whole


@pytest.mark.timeout(600)
@pytest.mark.parametrize("what", DEEP)
def test_long_ways_through_all_trouble_at_once_keep_every_rule(
    what: str, record_property: Saw
) -> None:
    _kept(walks(DEEP[what], number=300, seed=1), f"ways, {what}", record_property)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("what", WHOLE)
def test_every_state_within_all_bounds_at_once_keeps_every_rule(
    what: str, record_property: Saw
) -> None:
    found = search(WHOLE[what], graph=True)
    _kept(found, what, record_property)
    assert found.whole


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("what", BOXED)
def test_what_is_met_in_a_quarter_of_an_hour_keeps_every_rule(
    what: str, record_property: Saw
) -> None:
    _kept(search(BOXED[what], graph=True, most_s=900), what, record_property)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("what", DEEP)
def test_many_long_ways_through_all_trouble_at_once_keep_every_rule(
    what: str, record_property: Saw
) -> None:
    _kept(walks(DEEP[what], number=100_000, seed=2), f"ways, {what}", record_property)
