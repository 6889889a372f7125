"""What a command prints, such as a database dump, as one file."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

from drkit.clock import Clock
from drkit.events import Emit, Note
from drkit.sources.interface import Cut, SourceUnreadable

_TAIL_BYTES = 2000


class CommandOutput:
    """The standard output of `argv`, run without a shell. Satisfies `Source`."""

    kind = "command"

    def __init__(
        self, name: str, argv: tuple[str, ...], *, filename: str, clock: Clock, cwd: str = "."
    ) -> None:
        self._name = name
        self._argv = argv
        self._filename = filename
        self._cwd = cwd
        self._clock = clock

    @property
    def name(self) -> str:
        return self._name

    def cut(self, spool: Path, emit: Emit) -> Cut:
        """The whole output of a command that ended with 0; anything else is `SourceUnreadable`."""
        if Path(self._filename).name != self._filename or self._filename in ("", ".", ".."):
            raise self._unreadable(f"{self._filename!r} is no file name", "correct `filename`")
        cut_at = self._clock.now()
        root, errors = spool / "output", spool / "stderr"
        root.mkdir()
        try:
            with (root / self._filename).open("wb") as out, errors.open("wb") as err:
                ended = subprocess.run(
                    self._argv,
                    cwd=self._cwd,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    check=False,
                )
        except OSError as error:
            raise self._unreadable(
                f"{self._argv[0]} cannot be started in {self._cwd}: {error}",
                "see that it is installed, and that `cwd` is a folder",
            ) from error
        if ended.returncode:
            said = errors.read_bytes()[-_TAIL_BYTES:].decode(errors="replace").strip()
            raise self._unreadable(
                f"{self._argv[0]} ended with {ended.returncode}: {said or '(it said nothing)'}",
                "run the command by hand; its former output stays in the point",
            )
        size_bytes, digest = _measure(root / self._filename)
        if size_bytes == 0:
            emit(Note("warning", self._name, f"{self._argv[0]} ended well and printed nothing"))
        return Cut(root, cut_at, facts={"size_bytes": size_bytes, "sha256": digest}, staged=True)

    def _unreadable(self, what: str, hint: str) -> SourceUnreadable:
        return SourceUnreadable(f"{self._name}: {what}", hint=hint)


def _measure(path: Path) -> tuple[int, str]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return path.stat().st_size, digest
