"""Which packs a check reads whole: all, a share as restic cuts it, or today's turn. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

from drkit.errors import ConfigError

_SIZES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


@dataclass(frozen=True, slots=True)
class ReadNothing:
    """Structure only."""


@dataclass(frozen=True, slots=True)
class ReadAll:
    """Every pack."""


@dataclass(frozen=True, slots=True)
class ReadPart:
    """The packs of part `part` of `parts`: those of restic's `--read-data-subset n/t`."""

    part: int
    parts: int


@dataclass(frozen=True, slots=True)
class ReadShare:
    """A random share, in percent of the packs."""

    percent: float


@dataclass(frozen=True, slots=True)
class ReadBytes:
    """Random packs of about so many bytes."""

    size_bytes: int


@dataclass(frozen=True, slots=True)
class ReadTurns:
    """By store, the turns of so many that are due: the packs of each turn, by their names."""

    turns: Mapping[str, frozenset[int]]
    of: Mapping[str, int]


Reading = ReadNothing | ReadAll | ReadPart | ReadShare | ReadBytes | ReadTurns


def read_subset(text: str) -> Reading:
    """What `--read-data-subset` says: "1/7", "2.5%", "500M". ConfigError shows the forms."""
    if found := re.fullmatch(r"(\d+)/(\d+)", text):
        part, parts = int(found[1]), int(found[2])
        if 1 <= part <= parts <= 256:
            return ReadPart(part, parts)
    elif found := re.fullmatch(r"(\d+(?:\.\d+)?)%", text):
        percent = float(found[1])
        if 0 < percent <= 100:
            return ReadShare(percent)
    elif found := re.fullmatch(r"(\d+)([KMGT]?)(?:i?B)?", text, re.IGNORECASE):
        size_bytes = int(found[1]) * _SIZES[found[2].upper()]
        if size_bytes:
            return ReadBytes(size_bytes)
    raise ConfigError(
        f"{text!r} is no part of the data",
        hint="write n/t with 1 <= n <= t <= 256 (1/7), a share (2.5%), or a size (500M)",
    )


def turn_of(pack_id: str, of: int) -> int:
    """The turn of a pack, by its name alone: nothing has to be remembered of it."""
    return int(pack_id[:8], 16) % of


def chosen(
    reading: Reading, store: str, sizes: Mapping[str, int], random: Random
) -> frozenset[str]:
    """The packs, of those with `sizes` in bytes, that are to be read in `store`."""
    match reading:
        case ReadNothing():
            return frozenset()
        case ReadAll():
            return frozenset(sizes)
        case ReadPart():
            return frozenset(
                pack for pack in sizes if int(pack[:2], 16) % reading.parts == reading.part - 1
            )
        case ReadShare():
            count = max(1, round(len(sizes) * reading.percent / 100)) if sizes else 0
            return frozenset(random.sample(sorted(sizes), count))
        case ReadBytes():
            found: set[str] = set()
            total = 0
            for pack in random.sample(sorted(sizes), len(sizes)):
                if found and total + sizes[pack] > reading.size_bytes:
                    continue
                found.add(pack)
                total += sizes[pack]
            return frozenset(found)
        case ReadTurns():
            turns, of = reading.turns.get(store, frozenset()), reading.of.get(store, 1)
            return frozenset(pack for pack in sizes if turn_of(pack, of) in turns)
