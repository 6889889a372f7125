"""The data that cases share: made once in a run, seeded, and left as it is."""

from __future__ import annotations

import os
import random
from pathlib import Path

from bench.case import Bench

_PIECE_BYTES = 1 << 20
_WORDS = 2000


def large_files(bench: Bench) -> Path:
    """2 GiB that no compression shrinks, in 4 files."""
    root = bench.shared / "large"
    if not root.exists():
        root.mkdir()
        for number in range(4):
            write_noise(root / f"{number}.bin", int((512 << 20) * bench.scale), seed=number)
    return root


def write_noise(path: Path, size_bytes: int, *, seed: int) -> None:
    rng = random.Random(seed)
    with path.open("wb") as file:
        for at in range(0, size_bytes, _PIECE_BYTES):
            file.write(rng.randbytes(min(_PIECE_BYTES, size_bytes - at)))


def small_files(bench: Bench) -> Path:
    """20,000 text files in 200 folders, 400 MB, which zstd shrinks to about 40 %."""
    root = bench.shared / "small"
    if not root.exists():
        write_small_files(root, int(20_000 * bench.scale))
    return root


def write_small_files(root: Path, count: int, *, seed: int = 1) -> None:
    rng = random.Random(seed)
    for folder in range(max(1, count // 100)):
        (root / f"{folder:04}").mkdir(parents=True)
    for number in range(count):
        path = root / f"{number // 100 % max(1, count // 100):04}" / f"{number:06}.txt"
        path.write_bytes(text(rng, rng.randrange(1_000, 40_000)))


def text(rng: random.Random, size_bytes: int) -> bytes:
    """Words from a vocabulary, numbers and bits of noise: as logs and notes have them."""
    words = _vocabulary()
    parts: list[bytes] = []
    length = 0
    while length < size_bytes:
        line = b" ".join(rng.choices(words, k=12)) + b" %d\n" % rng.getrandbits(40)
        parts.append(line)
        length += len(line)
    return b"".join(parts)[:size_bytes]


_made: list[bytes] = []


def _vocabulary() -> list[bytes]:
    if not _made:
        rng = random.Random(0)
        letters = b"etaoinshrdlucmfwypvbgkjqxz"
        for _ in range(_WORDS):
            _made.append(bytes(rng.choices(letters, k=rng.randrange(3, 11))))
    return _made


def same_tree(left: Path, right: Path) -> None:
    """Raises `AssertionError` unless both folders hold the same files with the same bytes."""
    import filecmp

    left_names, right_names = _names(left), _names(right)
    assert left_names == right_names, f"{right} has other files than {left}"
    for name in left_names:
        assert filecmp.cmp(left / name, right / name, shallow=False), f"{right / name} differs"


def _names(root: Path) -> list[str]:
    return sorted(
        os.path.relpath(os.path.join(folder, name), root)
        for folder, _, files in os.walk(root)
        for name in files
    )
