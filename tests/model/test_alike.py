"""What the search does not look at one by one is nothing else: small searches without its savings.

It forgets what no move reads any more, lets one drkit stand for the other, and looks at a state
once, whatever is left. Here each is met by itself, with what is left, under its own names.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from failover_model.parts import Bounds, State
from failover_model.search import Search

NOTHING = Bounds(falls=0, returns=0, faults=0, acts=1, crashes=(0, 0), stalls=0, blinks=0, longs=0)


def few(**more: Any) -> Bounds:
    values = {name: getattr(NOTHING, name) for name in Bounds.__dataclass_fields__}
    return Bounds(**{**values, "runs": 1, **more})


CI = {
    "two drkits die": few(crashes=(1, 1)),
    "a drkit stands still": few(stalls=1),
    "an hour passes": few(longs=1, acts=2),
    "a machine is refused": few(faults=1),
    "nobody is asked": few(mode="auto", falls=1, returns=1, blinks=1, acts=0),
    "a database each": few(shared=False, runs=2, acts=2),
}
SOAK = {
    "one drkit dies, and is told to stop": few(crashes=(1, 0), acts=2),
    "a drkit stands still, and an hour passes": few(stalls=1, longs=1),
    "a fault while one stands still": few(faults=1, stalls=1),
    "the primary fails": few(falls=1, returns=1, faults=1),
    "nobody is asked, and one dies": few(mode="auto", falls=1, blinks=1, acts=0, crashes=(1, 0)),
    "a database each, and one stands still": few(shared=False, runs=2, acts=2, stalls=1),
}


@pytest.mark.parametrize("what", CI)
def test_the_search_meets_what_is_met_one_by_one_and_nothing_else(what: str) -> None:
    _same_as_one_by_one(CI[what])


@pytest.mark.soak
@pytest.mark.parametrize("what", SOAK)
def test_larger_searches_meet_what_is_met_one_by_one_and_nothing_else(what: str) -> None:
    _same_as_one_by_one(SOAK[what])


def _same_as_one_by_one(bounds: Bounds) -> None:
    searched = Search(bounds)
    assert searched.run().whole
    budget, wanted = searched.budget, dict[int, int]()
    for s in _one_by_one(searched):
        same, _ = searched.model.canonical(s)
        n = searched.met(same)
        wanted[n] = wanted.get(n, 0) | budget.within(same.left)
    assert set(wanted) == set(searched.expanded)
    for n, lefts in wanted.items():
        either, s = [lefts, searched.reached[n]], searched.state(n)
        if searched.model.mirrored(s) == s:  # whose crash is whose says nothing then
            either = [each | budget.swapped(each) for each in either]
        assert either[0] == either[1], s


def _one_by_one(searched: Search) -> Iterator[State]:
    """Whoever has more left can do, in each state, all that one with less can, and no more than
    what is then left allows."""
    model, budget = searched.model, searched.budget
    level = [model.first()]
    met = set(level)
    while level:
        following = []
        for s in level:
            yield s
            lefts, moves = budget.within(s.left), list(model.moves(s))
            assert [
                (label, after[:-1], rest, broken)
                for label, after, broken in model.moves(s._replace(left=budget.most))
                if (rest := budget.paid(lefts, budget.price(after.left)))
            ] == [
                (label, after[:-1], budget.within(after.left), broken)
                for label, after, broken in moves
            ]
            following += {after for _, after, _ in moves if after not in met}
            met.update(following)
        level = following
