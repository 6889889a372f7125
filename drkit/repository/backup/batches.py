"""Gathers files that are to be read into tasks that are worth one: many small files, of one folder
or of several, or a single large one.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from drkit.repository.backup.file_reader import FileReader, ReadFiles, SeenFile

_FILES = 32  # so that a scan, which is done soon, leaves little to be read behind it
_BYTES = 4 << 20


@dataclass(eq=False, slots=True)
class _Task:
    """Files by the folder they are in. `future`: None until they are sent off to be read."""

    groups: list[list[SeenFile]] = field(default_factory=list)
    files: int = 0
    size_bytes: int = 0
    future: Future[list[ReadFiles]] | None = None


class Reading:
    """What becomes of some files of one folder."""

    __slots__ = ("_batches", "_group", "_task")

    def __init__(self, batches: Batches, task: _Task, group: int) -> None:
        self._batches = batches
        self._task = task
        self._group = group

    @property
    def is_done(self) -> bool:
        return self._task.future is not None and self._task.future.done()

    def result(self) -> ReadFiles:
        """Waits until the files were read; raises what came between."""
        if self._task.future is None:
            self._batches.send()
        assert self._task.future is not None, "only the last task waits for more files"
        return self._task.future.result()[self._group]


class Batches:
    """The tasks of one scan, in a pool."""

    def __init__(self, reader: FileReader, pool: ThreadPoolExecutor) -> None:
        self._reader = reader
        self._pool = pool
        self._next = _Task()

    def add(self, files: Iterable[SeenFile]) -> list[Reading]:
        """What becomes of `files`, which are all of one folder. They are read once enough have come
        together, or one asks.
        """
        readings: list[Reading] = []
        group: list[SeenFile] | None = None
        for file in files:
            task = self._next
            if group is None:
                group = []
                readings.append(Reading(self, task, len(task.groups)))
                task.groups.append(group)
            group.append(file)
            task.files += 1
            task.size_bytes += file.size_bytes
            if task.files >= _FILES or task.size_bytes >= _BYTES:
                self.send()
                group = None
        return readings

    def send(self) -> None:
        """Reads what has come together."""
        task, self._next = self._next, _Task()
        if task.files:
            task.future = self._pool.submit(self._reader.read, task.groups)
