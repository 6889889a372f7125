"""The irreducible polynomial that restic's own chunker wants in `config` (drkit's needs none)."""

from __future__ import annotations

import secrets

_DEGREE = 53  # prime, which is what makes the test below short


def random_polynomial() -> int:
    """A random irreducible polynomial over GF(2), as an integer of its coefficients."""
    while True:
        candidate = (1 << _DEGREE) | secrets.randbits(_DEGREE) | 1
        if is_irreducible(candidate):
            return candidate


def is_irreducible(polynomial: int) -> bool:
    """Rabin's test for prime degree: x^(2^53) = x, and nothing shared with x^2 - x."""
    power = 2
    for _ in range(_DEGREE):
        power = _square_mod(power, polynomial)
    return power == 2 and _gcd(polynomial, 0b110) == 1


def _square_mod(value: int, modulus: int) -> int:
    return _mod(int(bin(value)[2:], 4), modulus)  # squaring spreads the bits


def _mod(value: int, modulus: int) -> int:
    length = modulus.bit_length()
    while value.bit_length() >= length:
        value ^= modulus << (value.bit_length() - length)
    return value


def _gcd(left: int, right: int) -> int:
    while right:
        left, right = right, _mod(left, right)
    return left
