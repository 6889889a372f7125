"""Processes of this machine as instances: a folder each, and the server that runs from it.

What a crash leaves: a record without a process is FAILED and is removed by `destroy`; a process
without a record cannot be, because it starts only after its pid is on disk (`gate`).
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import drkit
from drkit.clock import Clock
from drkit.compute import gate
from drkit.compute.interface import (
    ComputeError,
    Endpoint,
    Fault,
    Instance,
    InstanceState,
    LaunchSpec,
    Offer,
    Still,
    at_will,
)
from drkit.compute.local_record import (
    LOG,
    MODEL,
    Record,
    read_process,
    read_record,
    write_process,
    write_record,
)
from drkit.compute.process import end, process, processes_with
from drkit.config.places import Candidate, LocalProvider
from drkit.events import Note

BOOTSTRAP = (sys.executable, "-m", "drkit", "bootstrap")

_STOP_GRACE_S = 3.0
_MARK = "DRKIT_INSTANCE"
_ID = re.compile(r"local-[0-9a-f]{12}")
# What a server needs of our environment. Passwords and keys are never handed down (K1).
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV")


class LocalCompute:
    """Instances below `config.path`. An image and its arguments mean nothing here: `argv` does.

    `bootstrap` is called with `--ticket FILE --into FOLDER -- ARGV` and must become ARGV, so that
    the pid stays the server's.
    """

    def __init__(
        self, config: LocalProvider, *, clock: Clock, bootstrap: Sequence[str] = BOOTSTRAP
    ) -> None:
        self._config = config
        self._folder = Path(config.path).absolute()
        self._clock = clock
        self._bootstrap = tuple(bootstrap)

    def preflight(self) -> Sequence[Note]:
        notes = []
        nearest = next(path for path in (self._folder, *self._folder.parents) if path.exists())
        if not os.access(nearest, os.W_OK | os.X_OK):
            notes.append(Note("error", "compute", f"{nearest} cannot be written to"))
        if shutil.which(self._config.argv[0]) is None:
            notes.append(Note("error", "compute", f"there is no program {self._config.argv[0]}"))
        if self._port() is None:
            taken = f"{self._config.host}:{self._config.port}"
            notes.append(Note("warning", "compute", f"{taken} is in use"))
        return notes

    def offers(self, candidates: Sequence[Candidate]) -> Sequence[Offer]:
        """A local process costs what its candidate may cost at most, so that caps are exercised."""
        return [
            Offer(each.gpu, each.region, each.max_usd_per_hour, each.quantization)
            for each in candidates
        ]

    def find(self, tags: Mapping[str, str]) -> Sequence[Instance]:
        if not self._folder.is_dir():
            return []
        ids = [entry.name for entry in self._folder.iterdir() if _ID.fullmatch(entry.name)]
        instances = [found for found in map(self._read, ids) if found]
        matching = [each for each in instances if tags.items() <= each.tags.items()]
        return sorted(matching, key=lambda instance: (instance.created_at, instance.id))

    def create(
        self, offer: Offer, spec: LaunchSpec, tags: Mapping[str, str], still: Still = at_will
    ) -> Instance:
        port = self._port()
        if port is None:
            raise ComputeError(
                f"{self._config.host}:{self._config.port} is in use",
                fault=Fault.OUT_OF_CAPACITY,
                hint="destroy what runs there, or leave `port` out so that any free one is taken",
            )
        endpoint = Endpoint("http", self._config.host, port, stable=self._config.port is not None)
        record = Record(
            id=f"local-{secrets.token_hex(6)}",
            tags=dict(tags),
            created_at=self._clock.now(),
            offer=offer,
            endpoint=endpoint,
        )
        still()
        folder = write_record(self._folder, record)
        self._start(folder, spec, record)
        return self.get(record.id)

    def get(self, instance_id: str) -> Instance:
        if not _ID.fullmatch(instance_id):
            raise ComputeError(
                f"{instance_id!r} is no local instance",
                fault=Fault.NOT_FOUND,
                hint="drkit runs show names the instances of a run",
            )
        return self._read(instance_id) or Instance(
            id=instance_id,
            tags={},
            state=InstanceState.GONE,
            endpoint=None,
            created_at=self._clock.now(),
            offer=Offer("", None, 0.0),
        )

    def destroy(self, instance_id: str, still: Still = at_will) -> None:
        if self.get(instance_id).state is InstanceState.GONE:
            return
        folder = self._folder / instance_id
        recorded = read_process(folder)
        living = list(processes_with({_MARK: str(folder)}))
        if recorded and recorded.alive and recorded not in living:
            living.append(recorded)
        still()
        if left := end(living, grace_s=_STOP_GRACE_S):
            raise ComputeError(
                f"{instance_id}: process {left[0].pid} does not end",
                fault=Fault.TRANSIENT,
                hint="run the command again; its folder was kept",
            )
        folder.rename(self._folder / f".{instance_id}.gone")
        for remains in self._folder.glob(".local-*.gone"):  # also what a crash left here before
            shutil.rmtree(remains)

    def _read(self, instance_id: str) -> Instance | None:
        folder = self._folder / instance_id
        record = read_record(folder)
        if record is None:
            return None
        started = read_process(folder)
        alive = started is not None and started.alive
        if started is None:
            detail = "nothing was started: drkit ended in the middle of its creation"
        else:
            detail = "" if alive else f"the server ended; its last words: {_last_words(folder)}"
        return Instance(
            id=record.id,
            tags=record.tags,
            state=InstanceState.RUNNING if alive else InstanceState.FAILED,
            endpoint=record.endpoint,
            created_at=record.created_at,
            offer=record.offer,
            model_dir=folder / MODEL,
            detail=detail,
        )

    def _port(self) -> int | None:
        """The configured port if it is free, or any that is; None: it is in use."""
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind((self._config.host, self._config.port or 0))
            except OSError:
                return None
            return int(trial.getsockname()[1])

    def _start(self, folder: Path, spec: LaunchSpec, record: Record) -> None:
        """Starts the bootstrap in a session of its own, its pid on disk before it may go on."""
        values = {
            "{data}": str(folder / MODEL),
            "{host}": record.endpoint.host,
            "{port}": str(record.endpoint.port),
            "{model}": spec.model,
            "{instance}": record.id,
        }
        command = [
            *self._bootstrap,
            *("--ticket", str(folder / spec.ticket_path)),
            *("--into", str(folder / MODEL)),
            "--",
            *(_filled(part, values) for part in self._config.argv),
        ]
        reading, writing = os.pipe()
        log = os.open(folder / LOG, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
        try:
            pid = os.posix_spawn(
                sys.executable,
                [sys.executable, "-I", "-S", gate.__file__, str(folder), *command],
                self._environment(folder, spec),
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, reading, 0),
                    (os.POSIX_SPAWN_DUP2, log, 1),
                    (os.POSIX_SPAWN_DUP2, log, 2),
                ],
                setsid=True,
            )
            if started := process(pid):
                write_process(folder, started)
                os.write(writing, b"\n")
        finally:
            for descriptor in (reading, writing, log):
                os.close(descriptor)

    def _environment(self, folder: Path, spec: LaunchSpec) -> dict[str, str]:
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        package = str(Path(drkit.__file__).resolve().parent.parent)
        return {**inherited, "PYTHONPATH": package, **spec.environment, _MARK: str(folder)}


def _filled(part: str, values: Mapping[str, str]) -> str:
    """`part` with its placeholders replaced in one pass, so that no value is filled again."""
    return re.sub(r"\{[a-z]+\}", lambda found: values.get(found[0], found[0]), part)


def _last_words(folder: Path) -> str:
    try:
        lines = (folder / LOG).read_bytes()[-2000:].decode(errors="replace").split("\n")
    except OSError:
        return "(no log)"
    said = [text for line in lines if (text := line.strip()) and not text.startswith("hint: ")]
    return said[-1] if said else "(nothing)"
