"""Config to App: the only place that builds adapters. Each is built when it is first asked for."""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING

from drkit.clock import Clock, SystemClock
from drkit.config.local_paths import with_absolute_paths
from drkit.config.models import Config
from drkit.config.sources import WeightsSource
from drkit.errors import ConfigError
from drkit.events import Emit
from drkit.io_policy import READS
from drkit.repository.repository import (
    Repository,
    init_repository,
    is_unfinished,
    open_repository,
)
from drkit.secrets.catalog import open_secrets
from drkit.secrets.interface import Secrets
from drkit.sources.catalog import open_source
from drkit.sources.interface import Source
from drkit.stores.catalog import open_store
from drkit.stores.interface import Store

if TYPE_CHECKING:
    from drkit.compute.interface import Compute, Endpoint
    from drkit.coordination.interface import Arbiter
    from drkit.health.interface import Prober
    from drkit.state.database import Database
    from drkit.traffic.interface import Namespace, Switch


class App:
    """The deployment, opened. `root` is the folder of its configuration file.

    `config` names absolute places; `written` is the configuration as it was read.
    """

    def __init__(
        self,
        config: Config,
        root: Path,
        *,
        sandbox: bool,
        emit: Emit,
        clock: Clock | None = None,
        retry_lock_s: float | None = None,
    ) -> None:
        """`retry_lock_s`: what is done takes locks, and tries again for so long; None: it does not,
        and needs one store only.
        """
        self.written = config
        self.config = with_absolute_paths(config, root.absolute())
        self.root = root
        self.sandbox = sandbox
        self.emit = emit
        self.clock: Clock = clock or SystemClock()
        self.hostname = socket.gethostname()
        self._retry_lock_s = retry_lock_s

    @property
    def state_dir(self) -> Path:
        return Path(self.config.state.path)

    @cached_property
    def machine(self) -> str:
        """The name of this installation: its state folder makes it another one than the next,
        also where two machines have the same host name.
        """
        from drkit.stores.durable import write_file

        path = self.state_dir / "machine"
        try:
            return path.read_text().strip()
        except FileNotFoundError:
            name = f"{self.hostname}-{token_hex(3)}"
            write_file(path, f"{name}\n".encode())
            return name

    @cached_property
    def secrets(self) -> Secrets:
        return open_secrets(self.root)

    @cached_property
    def stores(self) -> tuple[Store, ...]:
        """All stores, in the order of the file, which is the order they are read in."""
        return tuple(
            open_store(name, config, self.secrets) for name, config in self.config.stores.items()
        )

    @cached_property
    def repository(self) -> Repository:
        return self._open_repository(READS.open_patience_s)

    @cached_property
    def repository_to_read(self) -> Repository:
        """The repository for a restore: one good store is enough, and slow ones are not awaited."""
        return self._open_repository(READS.restore_patience_s)

    def _open_repository(self, patience_s: float) -> Repository:
        return open_repository(
            self.stores,
            self.password,
            clock=self.clock,
            emit=self.emit,
            hostname=self.hostname,
            cache_dir=self.state_dir / "cache" / "repository",
            patience_s=patience_s,
            needed=1 if self._retry_lock_s is None else self.config.min_copies,
            retry_lock_s=self._retry_lock_s or 0.0,
        )

    def ensure_repository(self) -> None:
        """Creates the repository where there is none yet, or finishes what a killed init left; the
        sandbox inits by itself. A store that came back empty is left to an operator (S12).
        """
        if is_unfinished(self.stores):
            init_repository(self.stores, self.password, clock=self.clock, hostname=self.hostname)

    def own_files(self) -> dict[str, bytes]:
        """What a point keeps of drkit itself: the configuration and the runbooks, as they are."""
        from drkit.config.load import render_config

        folder = Path(self.config.runbooks)
        return {"schedules.yaml": render_config(self.written).encode()} | {
            f"runbook-{path.name}": path.read_bytes() for path in sorted(folder.glob("*.yaml"))
        }

    @property
    def password(self) -> str:
        return self.secrets.resolve(self.config.repository.password).reveal()

    @cached_property
    def arbiter(self) -> Arbiter:
        from drkit.coordination.catalog import open_arbiter

        return open_arbiter(
            self.config.arbiter,
            stores=self.config.stores,
            state_dir=self.state_dir,
            secrets=self.secrets,
            clock=self.clock,
        )

    @cached_property
    def database(self) -> Database:
        """The state: runs, health, decisions, audit log."""
        from drkit.state.database import open_database

        url = self.config.state.url
        return open_database(url or self.state_dir / "state.sqlite", clock=self.clock)

    def store_alone(self, name: str) -> Store:
        """One store, opened by itself: the others may lack their credentials."""
        return open_store(name, self.config.stores[name], self.secrets)

    def store(self, name: str) -> Store:
        for store in self.stores:
            if store.name == name:
                return store
        raise ConfigError(
            f"there is no store {name!r}", hint=f"there are {', '.join(self.config.stores)}"
        )

    def source(self, name: str) -> Source:
        return open_source(name, self.config.sources[name], self.secrets, clock=self.clock)

    def compute(self, place: str) -> Compute:
        """The provider of a site or target."""
        site = self.config.targets.get(place) or self.config.sites.get(place)
        if site is None or site.provider is None:
            raise ConfigError(
                f"{place!r} has no provider",
                hint=f"targets with one: {', '.join(self.config.targets) or 'none'}",
            )
        from drkit.compute.catalog import open_compute

        return open_compute(site.provider, self.secrets, clock=self.clock)

    def switches(self, namespace: Namespace) -> tuple[Switch, ...]:
        """What moves traffic in `namespace`; a switch without a drill name takes no part there."""
        from drkit.traffic.catalog import open_switch

        opened = (
            open_switch(name, config, self.secrets, namespace=namespace)
            for name, config in self.config.switch.items()
        )
        return tuple(switch for switch in opened if switch is not None)

    @cached_property
    def prober(self) -> Prober:
        from drkit.health.probes.round import HttpProber

        service = self.config.service
        return HttpProber(
            clock=self.clock,
            completion_timeout_s=self.config.probe.completion_timeout,
            dialect=service.server if service else None,
        )

    @property
    def api_key(self) -> Callable[[], str | None]:
        """Resolved when it is used, and each time anew."""
        service = self.config.service
        reference = service.api_key if service else None
        return lambda: self.secrets.resolve(reference).reveal() if reference else None

    @property
    def primary(self) -> Endpoint | None:
        """Where the primary answers, by address."""
        service = self.config.service
        url = self.config.sites[service.primary].endpoint if service else None
        return parse_endpoint(url) if url else None

    @property
    def weights_sources(self) -> dict[str, WeightsSource]:
        return {
            name: source
            for name, source in self.config.sources.items()
            if isinstance(source, WeightsSource)
        }


def parse_endpoint(url: str) -> Endpoint:
    """The endpoint of a URL; ConfigError when it lacks a host."""
    from urllib.parse import urlsplit

    from drkit.compute.interface import Endpoint

    parts = urlsplit(url)
    if not parts.hostname or parts.scheme not in ("http", "https"):
        raise ConfigError(f"{url!r} is no endpoint", hint="write it as http://ADDRESS:PORT")
    default = 443 if parts.scheme == "https" else 80
    return Endpoint(parts.scheme, parts.hostname, parts.port or default)
