"""Starts, breaks and stops the sandbox: servers, sources, names, and the drill's own primary."""

from __future__ import annotations

import base64
import secrets as random_secrets
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from drkit.compute.interface import Endpoint
from drkit.compute.local_record import read_process
from drkit.config.models import Config
from drkit.config.places import LocalProvider
from drkit.config.sources import AnyWeights, PrivateWeights, QdrantSource, TreeSource, WeightsSource
from drkit.errors import ConfigError
from drkit.events import discard
from drkit.sandbox.mapping import (
    DRILL_PRIMARY,
    TSIG_NAME,
    Ports,
    sandbox_config,
    site_addresses,
    standby_address,
)
from drkit.standins.names import bring_home, point_switches
from drkit.standins.processes import Processes, free_port, is_free
from drkit.standins.stack import fill_qdrant, make_model, make_tree
from drkit.stores.durable import write_file
from drkit.traffic.interface import ToSite
from drkit.wiring import App

_SEED = 20260101
_DIES_WITHIN_S = 5.0


class Sandbox:
    """The sandbox of one deployment, below `root`. Every method may be called twice."""

    def __init__(self, config: Config, root: Path) -> None:
        self._real = config
        self._root = root
        self._processes = Processes(root)
        self._addresses = site_addresses(config)
        self.ports = self._ports()
        self.config = sandbox_config(config, root, self.ports)

    def prepare(self, data: Path | None = None) -> None:
        """Folders, secrets and sources; no process."""
        for name in ("restic-password", "tsig-key", "witness-token"):
            self._secret(self._root / name, as_base64=name == "tsig-key")
        for number, (name, source) in enumerate(self.config.sources.items()):
            if isinstance(source, TreeSource | WeightsSource):
                self._source(name, source, number, data)

    def is_up(self) -> bool:
        return any(started.lives for started in self._processes.all().values())

    def up(self, data: Path | None = None) -> None:
        """Everything prepared, started, and set to the primary; returns when all answer.

        What `kill` ended stays dead: it comes back after `down`, and the primary serves again.
        """
        from_nothing = not self.is_up()
        if from_nothing:
            self._processes.stop_all()  # forgets those that were killed
            self._move_from_taken_ports()
        self.prepare(data)
        names = self._start_servers()
        self._processes.wait_ready(names)
        for source in self.config.sources.values():
            if isinstance(source, QdrantSource):
                fill_qdrant(source.url, seed=_SEED)
        if (service := self.config.service) is None:
            return
        if from_nothing:
            bring_home(self._app(), service.name, self._primary())
        elif self._processes.all()[service.primary].lives:
            point_switches(self._app(), "production", self._primary(), only_unset=True)

    def down(self) -> None:
        """Stops every process, targets included. The data stays."""
        app = self._app()
        for name, provider in self._providers().items():
            if isinstance(provider, LocalProvider):
                compute = app.compute(name)
                for instance in compute.find({}):
                    compute.destroy(instance.id)
        self._processes.stop_all()

    def reset(self) -> None:
        """Down, and the sandbox's folder deleted; what its links point to is not touched."""
        self.down()
        shutil.rmtree(self._root)

    def status(self) -> list[Mapping[str, Any]]:
        rows: list[Mapping[str, Any]] = [
            {
                "name": started.name,
                "address": f"{started.host}:{started.port}",
                "state": "running" if started.lives else "dead",
                "pid": started.pid,
            }
            for started in self._processes.all().values()
        ]
        app = self._app()
        for name in self.config.targets:
            for instance in app.compute(name).find({}):
                endpoint = instance.endpoint
                address = f"{endpoint.host}:{endpoint.port}" if endpoint else ""
                rows.append(
                    {
                        "name": f"{name} ({instance.id})",
                        "address": address,
                        "state": instance.state.value,
                        "pid": "",
                    }
                )
        return rows

    def kill(self, site: str) -> None:
        """Ends what runs on `site` at once."""
        running = self._processes.all()
        living_there = [
            "qdrant"
            for source in self.config.sources.values()
            if isinstance(source, QdrantSource) and source.lives_on == site
        ]
        names = [name for name in dict.fromkeys([site, *living_there]) if name in running]
        provider = self._providers().get(site)
        instances = (
            self._app().compute(site).find({}) if isinstance(provider, LocalProvider) else []
        )
        for name in names:
            self._processes.kill(name)
        for instance in instances:
            assert isinstance(provider, LocalProvider)
            if process := read_process(Path(provider.path) / instance.id):
                process.send(signal.SIGKILL)
                process.wait(_DIES_WITHIN_S)
        if not names and not instances:
            known = [*running, *self.config.targets]
            raise ConfigError(
                f"nothing of the sandbox runs on {site!r}", hint=f"there are {', '.join(known)}"
            )

    def revive(self, site: str) -> None:
        """The server that `kill` ended on the primary's site is there again, as after a repair."""
        service = self.config.service
        if service is None or site != service.primary or not self.is_up():
            raise ConfigError(
                f"nothing that was killed on {site!r} comes back",
                hint="drkit sandbox up first"
                if service and site == service.primary
                else "only the primary's server does",
            )
        self._start_model(site, self._addresses[site], revive=True)
        self._processes.wait_ready([site])

    def start_drill_primary(self) -> Endpoint:
        """A copy of the primary for one drill, with the drill's names set to it."""
        host = self._addresses[DRILL_PRIMARY]
        self._start_model(DRILL_PRIMARY, host, revive=True)
        self._processes.wait_ready([DRILL_PRIMARY])
        endpoint = Endpoint("http", host, self.ports.model)
        assert self.config.service is not None
        point_switches(self._app(), "drill", ToSite(self.config.service.primary, endpoint))
        return endpoint

    def kill_drill_primary(self) -> None:
        self._processes.kill(DRILL_PRIMARY)

    def _start_servers(self) -> list[str]:
        start, data, ports = self._processes.start, self._root / "servers", self.ports
        local = "127.0.0.1"
        names = []
        zones = sorted(
            {zone for s in self.config.switch.values() if (zone := getattr(s, "zone", None))}
        )
        if zones:
            arguments: list[str | Path] = ["--data", data / "dns", "--key-name", TSIG_NAME]
            arguments += ["--key-file", self._root / "tsig-key"]
            for zone in zones:
                arguments += ["--zone", zone]
            names.append(start("dns", "drkit.standins.dns", local, ports.dns, arguments).name)
        service = self.config.service
        if service:
            model = service.external.model if service.external else "external-api"
            external = start(
                "external", "drkit.standins.external", local, ports.external, ["--model", model]
            )
            names.append(external.name)
            for name, port in (("gateway", ports.gateway), ("drill-gateway", ports.drill_gateway)):
                fallback = f"http://{local}:{ports.external}"
                where: list[str | Path] = ["--data", data / name, "--external", fallback]
                names.append(start(name, "drkit.standins.gateway", local, port, where).name)
            names.append(self._start_model(service.primary, self._addresses[service.primary]))
            for name, target in self.config.targets.items():
                if target.standby:
                    names.append(self._start_model(name, self._addresses[standby_address(name)]))
        if any(isinstance(source, QdrantSource) for source in self.config.sources.values()):
            for name, port in (("qdrant", ports.qdrant), ("qdrant-restore", ports.qdrant_restore)):
                where = ["--data", data / name]
                names.append(start(name, "drkit.standins.qdrant", local, port, where).name)
        return names

    def _start_model(self, name: str, host: str, *, revive: bool = False) -> str:
        service = self.config.service
        assert service is not None
        weights = self.config.sources[service.weights] if service.weights else None
        folder = self._root / "servers" / "model"
        if isinstance(weights, WeightsSource):
            folder = Path(weights.path)
        elif not (folder / "tokenizer.json").exists():  # a service whose weights nobody protects
            make_model(folder, seed=_SEED)
        arguments: list[str | Path] = ["--data", folder, "--instance", name]
        arguments += ["--served-model-name", service.model]
        module, port = "drkit.standins.model", self.ports.model
        self._processes.start(name, module, host, port, arguments, revive=revive)
        return name

    def _primary(self) -> ToSite:
        assert self.config.service is not None
        site = self.config.service.primary
        return ToSite(site, Endpoint("http", self._addresses[site], self.ports.model))

    def _source(
        self, name: str, source: TreeSource | WeightsSource, number: int, data: Path | None
    ) -> None:
        place, real = Path(source.path), self._real.sources[name]
        theirs = Path(real.path) if isinstance(real, TreeSource | WeightsSource) else None
        if data is not None and name == self._data_source():
            theirs = data.resolve(strict=True)
            if place.is_symlink() or not place.exists():
                place.unlink(missing_ok=True)
            elif place.is_dir():
                shutil.rmtree(place)  # a tree that the sandbox made
        if place.exists():
            return
        place.parent.mkdir(parents=True, exist_ok=True)
        if theirs is not None and theirs.is_dir():
            place.symlink_to(theirs)
            return
        partial = place.with_name(f".{name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        if isinstance(source, AnyWeights):
            make_model(partial, seed=_SEED)
        else:
            make_tree(partial, seed=_SEED + number, files=1500)
        partial.replace(place)

    def _data_source(self) -> str:
        """The tree that --data stands for: sncp, or the first one."""
        trees = [
            name
            for name, source in self._real.sources.items()
            if isinstance(source, TreeSource) and not isinstance(source, PrivateWeights)
        ]
        if not trees:
            raise ConfigError(
                "--data needs a source of kind tree", hint="add one to schedules.yaml"
            )
        return "sncp" if "sncp" in trees else trees[0]

    def _providers(self) -> dict[str, object]:
        return {
            name: place.provider
            for places in (self.config.sites, self.config.targets)
            for name, place in places.items()
            if place.provider is not None
        }

    def _app(self) -> App:
        return App(self.config, self._root, sandbox=True, emit=discard)

    def _ports(self) -> Ports:
        try:
            return Ports(**orjson.loads((self._root / "ports.json").read_bytes()))
        except (FileNotFoundError, TypeError, ValueError):
            return self._choose_ports()

    def _move_from_taken_ports(self) -> None:
        """Chooses others if somebody else listens on one of ours."""
        ours = {"127.0.0.1": {*self.ports.to_json().values()} - {self.ports.model}}
        for name, target in self.config.targets.items():
            if target.standby:
                ours[self._addresses[standby_address(name)]] = {self.ports.model}
        if self.config.service:
            ours[self._addresses[self.config.service.primary]] = {self.ports.model}
        if all(is_free(host, port) for host, ports in ours.items() for port in ports):
            return
        self.ports = self._choose_ports()
        self.config = sandbox_config(self._real, self._root, self.ports)

    def _choose_ports(self) -> Ports:
        taken: set[int] = set()
        while len(taken) < len(Ports.__dataclass_fields__):
            taken.add(free_port(("127.0.0.1", *self._addresses.values())))
        ports = Ports(*taken)
        write_file(self._root / "ports.json", orjson.dumps(ports.to_json()))
        return ports

    def _secret(self, path: Path, *, as_base64: bool) -> None:
        if path.exists():
            return
        raw = random_secrets.token_bytes(32)
        text = base64.b64encode(raw).decode() if as_base64 else random_secrets.token_urlsafe(32)
        write_file(path, f"{text}\n".encode(), mode=0o600)
