"""Fetches a model by its ticket: in parallel, resumable, every byte hashed before it is used.

Each file comes from the first store that gives it whole; what one store lost or damaged, the next
one has.

A file is written as `<name>.part`, which a later call carries on with, and gets its name only
when its SHA-256 is right. A file that is there and right is kept.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from drkit.clock import Clock
from drkit.errors import DamagedData, GuardRefused, PlaceError
from drkit.events import Emit, Note, Progress
from drkit.http_client import NoAnswer
from drkit.http_wire import Wire
from drkit.io_policy import STORE_RETRY, retrying
from drkit.mirror.download import read_url
from drkit.mirror.manifest import FileEntry
from drkit.mirror.ticket import Ticket
from drkit.stores.durable import make_folders, sync_folder, write_all
from drkit.stores.interface import Store, StoreUnreachable

THREADS = 4
PART = ".part"
_READ_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class FetchReport:
    """`files` are in place; `bytes` were fetched by this call."""

    files: int
    bytes: int


def fetch_ticket(
    ticket: Ticket,
    into: Path,
    *,
    clock: Clock,
    emit: Emit,
    wires: Mapping[str, Wire] | None = None,
) -> FetchReport:
    """Brings every file of the ticket below `into`, which is made if absent.

    `wires`: the operator's own ways to the stores, by name; a rented machine has none. Raises
    `PlaceError` (expired, unreachable), `DamagedData` naming the file that no store has as the
    manifest says, `GuardRefused` for links in `into` that lead elsewhere.
    """
    if clock.now() >= ticket.expires_at:
        raise PlaceError(
            f"the ticket expired at {ticket.expires_at.isoformat(timespec='seconds')}",
            hint="drkit runs resume mints a new one",
        )
    make_folders(into)
    job = _Fetching(ticket, into, clock, emit, wires or {})
    with ThreadPoolExecutor(THREADS, thread_name_prefix="fetch") as pool:
        waiting = [pool.submit(job.fetch, entry) for entry in ticket.manifest.files]
        try:
            for one in waiting:
                one.result()
        except BaseException:
            job.stopped.set()
            pool.shutdown(cancel_futures=True)
            raise
    return FetchReport(len(waiting), job.fetched_bytes)


class _Fetching:
    def __init__(
        self, ticket: Ticket, into: Path, clock: Clock, emit: Emit, wires: Mapping[str, Wire]
    ) -> None:
        self._wires = wires
        self._ticket = ticket
        self._into = into
        self._clock = clock
        self._emit = emit
        self._lock = threading.Lock()
        self._in_place_bytes = 0
        self.fetched_bytes = 0
        self.stopped = threading.Event()

    def fetch(self, entry: FileEntry) -> None:
        """Puts one file in place, or leaves what came of it in its part."""
        try:
            self._bring(entry)
        except OSError as error:
            raise PlaceError(
                f"{self._into / entry.path}: {error.strerror or error}",
                hint="see that the folder may be written and has room",
            ) from error
        with self._lock:
            self._in_place_bytes += entry.size_bytes
            total = self._ticket.manifest.total_bytes
            self._emit(Progress("fetch", self._in_place_bytes, total, "bytes", entry.path))

    def _bring(self, entry: FileEntry) -> None:
        target = self._into / entry.path
        self._refuse_links(entry.path)
        make_folders(target.parent)
        if not _is_right(target, entry):
            part = target.with_name(target.name + PART)
            self._from_any_store(entry, part)
            part.replace(target)
            sync_folder(target.parent)

    def _from_any_store(self, entry: FileEntry, part: Path) -> None:
        """Asks one store after the other until one gave the right file."""
        failed: list[PlaceError | DamagedData] = []
        for store, url in self._ticket.urls[entry.path]:
            try:
                retrying(
                    partial(self._carry_on, entry, part, store, url),
                    policy=STORE_RETRY,
                    on=(StoreUnreachable, NoAnswer),
                    clock=self._clock,
                )
                return
            except (PlaceError, DamagedData) as error:
                if self.stopped.is_set():
                    raise
                failed.append(error)
                self._emit(Note("warning", store, f"{entry.path}: {error.message}"))
        if len(failed) == 1:
            raise failed[0]
        kind = DamagedData if any(isinstance(each, DamagedData) for each in failed) else PlaceError
        raise kind(
            f"no store gives {entry.path} whole: {'; '.join(each.message for each in failed)}",
            hint=failed[-1].hint,
        )

    def _refuse_links(self, path: str) -> None:
        at = self._into
        for name in path.split("/"):
            at = at / name
            if at.is_symlink():
                raise GuardRefused(
                    f"{at} is a symbolic link; nothing is written through it",
                    hint="fetch into an empty folder",
                )

    def _carry_on(self, entry: FileEntry, part: Path, store: str, url: str) -> None:
        """Fetches what `part` lacks; returns with the whole, right file in it, synced."""
        resumed = self._try(entry, part, store, url)
        if resumed is None:
            return
        part.unlink()
        # What an earlier call left may have been damaged; what came in one piece is not ours.
        if resumed and self._try(entry, part, store, url) is None:
            return
        part.unlink(missing_ok=True)
        raise DamagedData(
            f"{entry.path}: what {store} gave is not what was mirrored (sha256)",
            hint="mirror it again from its source: delete it in that store, then drkit backup",
        )

    def _try(self, entry: FileEntry, part: Path, store: str, url: str) -> int | None:
        """None when `part` is now right; else how many bytes of it were there before."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(part, flags, 0o644), "r+b", buffering=0) as file:
            if file.seek(0, os.SEEK_END) > entry.size_bytes:
                file.truncate(0)
            file.seek(0)
            hasher = hashlib.sha256()
            while kept := file.read(_READ_BYTES):
                hasher.update(kept)
            resumed = at = file.tell()
            if at < entry.size_bytes:
                for offset, chunk in read_url(
                    url,
                    offset=at,
                    size_bytes=entry.size_bytes,
                    clock=self._clock,
                    wire=self._wires.get(store),
                ):
                    if self.stopped.is_set():
                        raise PlaceError("given up: another file failed", hint="see its error")
                    if offset != at:
                        hasher, resumed = hashlib.sha256(), 0
                        file.seek(0)
                        file.truncate()
                    at = offset + len(chunk)
                    if at > entry.size_bytes:
                        return resumed
                    hasher.update(chunk)
                    write_all(file.fileno(), chunk)
                    with self._lock:
                        self.fetched_bytes += len(chunk)
            if at < entry.size_bytes:
                raise StoreUnreachable(
                    f"{entry.path} ended after {at} of {entry.size_bytes} bytes",
                    hint="the download is carried on from there: drkit runs resume",
                )
            os.fsync(file.fileno())
        return None if hasher.hexdigest() == entry.sha256 else resumed


def wires_of(stores: Iterable[Store]) -> dict[str, Wire]:
    """How each of the stores that are reached over HTTP is reached, by its name."""
    found = {store.name: getattr(store, "wire", None) for store in stores}
    return {name: wire for name, wire in found.items() if isinstance(wire, Wire)}


def _is_right(target: Path, entry: FileEntry) -> bool:
    if not target.is_file() or target.stat().st_size != entry.size_bytes:
        return False
    with target.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == entry.sha256
