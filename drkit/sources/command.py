"""What a program prints, such as a database dump. It is started without a shell."""

from __future__ import annotations

import subprocess
from pathlib import Path

from drkit.clock import Clock
from drkit.events import Emit
from drkit.sources.interface import Cut, SourceUnreadable

_TAIL = 400


class CommandSource:
    kind = "command"

    def __init__(self, name: str, argv: tuple[str, ...], filename: str, clock: Clock) -> None:
        self.name = name
        self._argv = argv
        self._filename = filename
        self._clock = clock

    def cut(self, spool: Path, emit: Emit) -> Cut:
        cut_at = self._clock.now()
        try:
            with (spool / self._filename).open("xb") as out:
                done = subprocess.run(
                    self._argv, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.PIPE
                )
        except OSError as error:
            raise SourceUnreadable(
                f"{self.name}: {self._argv[0]}: {error.strerror}", hint="check its argv"
            ) from None
        if done.returncode:
            said = done.stderr[-_TAIL:].decode(errors="replace").strip()
            raise SourceUnreadable(
                f"{self.name}: {self._argv[0]} ended with {done.returncode}: {said}",
                hint="run the command by hand; a failed dump is never kept",
            )
        return Cut(spool, cut_at, staged=True)
