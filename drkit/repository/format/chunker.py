"""Content-defined chunks: boundaries move with the content, so that an edit costs one chunk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import orjson

from drkit.repository.format.sealing import MasterKey

if TYPE_CHECKING:
    from pyfastcdc import FastCDC

WINDOW_BYTES = 16 << 20
_ALGORITHM = "fastcdc-2020"
_LEAST = 4 << 10


@dataclass(frozen=True, slots=True)
class ChunkerSettings:
    """Pinned per repository in drkit.json: other settings would store everything anew."""

    min_bytes: int = 512 << 10
    avg_bytes: int = 1 << 20
    max_bytes: int = 8 << 20

    def to_json(self) -> dict[str, object]:
        return {"algorithm": _ALGORITHM, **asdict(self)}

    @classmethod
    def from_json(cls, content: bytes) -> ChunkerSettings:
        """What a drkit.json pins. ValueError when it is none, or asks for what cannot be done."""
        pinned = orjson.loads(content)["chunker"]
        if pinned["algorithm"] != _ALGORITHM:
            raise ValueError(f"an algorithm that is not known: {pinned['algorithm']!r}")
        sizes = [pinned[name] for name in ("min_bytes", "avg_bytes", "max_bytes")]
        least, average, most = (size if type(size) is int else 0 for size in sizes)
        if not (_LEAST <= least <= min(average, 1 << 20) and average <= min(most, 4 << 20)):
            raise ValueError(f"sizes that cannot be: {sizes}")
        if most > WINDOW_BYTES // 2:
            raise ValueError(f"chunks of {most} bytes")
        return cls(least, average, most)


class Chunker:
    """Cuts buffers with a secret seed, so that chunk sizes do not tell known files."""

    def __init__(self, settings: ChunkerSettings, key: MasterKey) -> None:
        self._settings = settings
        self._key = key

    @cached_property
    def _cdc(self) -> FastCDC:
        """Made when something is cut: most runs meet small files alone."""
        from pyfastcdc import FastCDC

        settings = self._settings
        seed = int.from_bytes(self._key.derive("chunker seed", 8), "little") & (2**63 - 1)
        return FastCDC(
            avg_size=settings.avg_bytes,
            min_size=settings.min_bytes,
            max_size=settings.max_bytes,
            seed=seed,
        )

    @property
    def min_bytes(self) -> int:
        return self._settings.min_bytes

    @property
    def max_bytes(self) -> int:
        return self._settings.max_bytes

    def cut(self, window: memoryview, *, is_last: bool) -> Iterator[memoryview]:
        """Chunks of `window`. Unless it is the last one, what may still grow is left over."""
        used = 0
        for chunk in self._cdc.cut_buf(window):
            if not is_last and used + chunk.length == len(window):
                return  # it ends with the window, not where its content says
            piece = window[used : used + chunk.length]
            used += chunk.length
            yield piece
