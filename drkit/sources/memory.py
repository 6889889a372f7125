"""A source in memory that passes the conformance suite and can be told to fail."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from drkit.clock import Clock, ManualClock
from drkit.events import Emit
from drkit.sources.interface import Cut, SourceUnreadable


class MemorySource:
    """`files` (by relative path) are staged at each cut. `broken` makes it unreadable."""

    kind = "memory"

    def __init__(
        self,
        name: str = "memory",
        files: Mapping[str, bytes] | None = None,
        *,
        facts: Mapping[str, Any] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._name = name
        self.files = dict(files or {})
        self.facts = dict(facts or {})
        self.broken = False
        self._clock = clock or ManualClock()

    @property
    def name(self) -> str:
        return self._name

    def cut(self, spool: Path, emit: Emit) -> Cut:
        if self.broken:
            raise SourceUnreadable(f"{self._name}: told to be broken", hint="a test asked so")
        root = spool / "files"
        root.mkdir()
        for path, content in self.files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(content)
        return Cut(root, self._clock.now(), facts=dict(self.facts), staged=True)
