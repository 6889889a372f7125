"""Processes that open, prove and write what a restore has read, each with an interpreter lock of
its own: thousands of small files hand that lock over at every call, and two cores lose one to it.

Stores are asked by this process alone. Ranges are read into memory that all of them map; a worker
is told where, what lies there and which files it belongs to, and tells what came of it. It gets the
key through a pipe, and ends when that pipe is closed, however this process ends.
"""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO

import drkit
from drkit.errors import PlaceError
from drkit.repository.copies.fetch import Room
from drkit.repository.format.sealing import MasterKey
from drkit.repository.restore.worker import receive, send
from drkit.repository.restore.writing import Sealed, Written

ROOM_BYTES = (8 << 20) + (1 << 16)
"""The largest blob that restic makes, sealed; a longer range is written by this process."""
_MOST_WORKERS = 4
_END_S = 10.0


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Crew:
    """A context. Until a worker has come up, and without any (`count` 0, or none can be started),
    whoever asks writes itself. `rooms`: memory to read into, one for each thread that reads.
    """

    def __init__(self, key: MasterKey, *, count: int, rooms: int, sparse: bool) -> None:
        self._order = ((key.encrypt, key.mac_k, key.mac_r), sparse)
        self._memory = _memory_to_share(rooms * ROOM_BYTES) if count else None
        self._changed = threading.Condition()
        self._started: list[_Worker] = []
        self._free: list[_Worker] = []
        self._at_work = 0
        self._is_over = False
        self._threads: list[threading.Thread] = []
        self.rooms = _rooms(self._memory, rooms)
        for _ in range(min(count, _MOST_WORKERS)):
            thread = threading.Thread(target=self._bring_up, daemon=True)
            self._threads.append(thread)
            thread.start()

    def __enter__(self) -> Crew:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        with self._changed:
            self._is_over = True
            for worker in self._started:
                worker.dismiss()
        for thread in self._threads:
            thread.join()
        for worker in self._started:
            worker.see_off()
        if self._memory is not None:
            self._memory.close()

    def write(self, room: int | None, length: int, pieces: list[Sealed]) -> Written | None:
        """What came of the range of `length` bytes in that room; None: nobody took it."""
        if room is None or not self._threads or (worker := self._take()) is None:
            return None
        written = None
        try:
            written = worker.ask((room * ROOM_BYTES, length, pieces))
        finally:
            with self._changed:
                self._at_work -= 1
                if written is not None:
                    self._free.append(worker)
                self._changed.notify_all()
        return written

    def _take(self) -> _Worker | None:
        """A worker that has nothing to do, waited for if there are any."""
        with self._changed:
            while self._at_work and not self._free:
                self._changed.wait()
            if not self._free:
                return None
            self._at_work += 1
            return self._free.pop()

    def _bring_up(self) -> None:
        """Starts a worker, which takes as long as its imports do."""
        try:
            worker = _Worker(self._memory)
        except OSError:
            return
        with self._changed:
            self._started.append(worker)
            if self._is_over:
                worker.dismiss()
        with suppress(EOFError, OSError, ValueError):  # it cannot, or the restore is over
            receive(worker.answers)
            send(worker.asked, self._order)
            with self._changed:
                self._free.append(worker)
                self._changed.notify_all()


class _Worker:
    def __init__(self, memory: IO[bytes] | None) -> None:
        assert memory is not None
        here = str(Path(drkit.__file__).parents[1])  # what runs there is what runs here
        found = os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH"))))
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "drkit.repository.restore.worker", str(memory.fileno())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=(memory.fileno(),),
            env={**os.environ, "PYTHONPATH": found},
            start_new_session=True,  # Ctrl-C is for the process that asks
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self.asked, self.answers = self._process.stdin, self._process.stdout

    def ask(self, question: tuple[int, int, list[Sealed]]) -> Written:
        try:
            send(self.asked, question)
            return Written(*receive(self.answers))
        except (EOFError, OSError):
            raise PlaceError(
                f"a process that writes what is restored has ended ({self._process.wait()})",
                hint="is this machine short of memory? Run the restore again: it goes on",
            ) from None

    def dismiss(self) -> None:
        with suppress(OSError):
            self.asked.close()

    def see_off(self) -> None:
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self.answers.close()


def _memory_to_share(size_bytes: int) -> IO[bytes]:
    """A file without a name, in memory where the system can."""
    file: IO[bytes]
    if hasattr(os, "memfd_create"):
        file = os.fdopen(os.memfd_create("drkit-restore"), "r+b")
    else:
        file = tempfile.TemporaryFile()  # noqa: SIM115  (it stays open as long as the crew)
    file.truncate(size_bytes)
    return file


def _rooms(memory: IO[bytes] | None, count: int) -> tuple[Room, ...]:
    view = memoryview(mmap.mmap(memory.fileno() if memory else -1, count * ROOM_BYTES))
    return tuple(
        Room(number, view[number * ROOM_BYTES : (number + 1) * ROOM_BYTES])
        for number in range(count)
    )
