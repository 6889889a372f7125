"""Sets of what may still happen, each as the bits of one number.

Whoever has more left can do all that one with less can, and has as much more left afterwards:
`Model.moves` asks of what is left only whether there is any, to spend it. So a set holds with each
`Left` every one that is less, and a state is looked at once, whatever is left.
"""

from __future__ import annotations

from itertools import product

from failover_model.parts import Bounds, Left

_NAMES = ("falls", "returns", "faults", "acts", "stalls", "blinks", "longs")
_Counts = tuple[int, ...]


class Budget:
    """Bit `i` of a set is the `i`-th way to have so much left of each of nine things."""

    def __init__(self, bounds: Bounds) -> None:
        most = max(bounds.crashes)
        names = {name: getattr(bounds, name) for name in _NAMES}
        self.most = Left(crashes=(most, most), runs=bounds.runs, **names)
        sizes = [count + 1 for count in _counts(self.most)]
        self._steps = [1]
        for size in sizes[:-1]:
            self._steps.append(self._steps[-1] * size)
        self._all = {self._bit(each): each for each in product(*(range(size) for size in sizes))}
        # One bit for each drkit's crashes: whose sets are changed for each other's, and how far.
        self._swaps = [
            (
                self._set(lambda each, a=a, b=b: each[-2:] == (a, b)),  # type: ignore[misc]
                (b - a) * self._steps[-2] + (a - b) * self._steps[-1],
            )
            for a, b in product(range(most + 1), repeat=2)
        ]
        self._numbers: dict[Left, int] = {}
        self._within: dict[Left, int] = {}
        self.prices: list[tuple[int, int]] = []
        """Of each price: how far a set is moved by it, and the set of those who can pay it."""

    def within(self, left: Left) -> int:
        """The set of `left` and all that is less."""
        if (known := self._within.get(left)) is None:
            counts = _counts(left)
            known = self._within[left] = self._set(lambda each: _enough(counts, each))
        return known

    def price(self, after: Left) -> int:
        """The number of the price of a move after which `after` is left of the most."""
        if (number := self._numbers.get(after)) is None:
            pairs = zip(_counts(self.most), _counts(after), strict=True)
            price = tuple(before - left for before, left in pairs)
            payers = self._set(lambda each: _enough(each, price))
            number = self._numbers[after] = len(self.prices)
            self.prices.append((self._bit(price), payers))
        return number

    def paid(self, lefts: int, price: int) -> int:
        by, payers = self.prices[price]
        return (lefts & payers) >> by

    def swapped(self, lefts: int) -> int:
        """The set in which the two drkits have changed names."""
        found = 0
        for those, by in self._swaps:
            if some := lefts & those:
                found |= some << by if by >= 0 else some >> -by
        return found

    def _bit(self, counts: _Counts) -> int:
        return sum(count * step for count, step in zip(counts, self._steps, strict=True))

    def _set(self, wanted: object) -> int:
        assert callable(wanted)
        return sum(1 << bit for bit, each in self._all.items() if wanted(each))


def _counts(left: Left) -> _Counts:
    return (*(getattr(left, name) for name in _NAMES), *left.crashes)


def _enough(counts: _Counts, price: _Counts) -> bool:
    return all(count >= least for count, least in zip(counts, price, strict=True))
