"""The sandbox is a pure mapping: the same deployment, by the same names, on stand-ins."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from drkit.config.alerts import Alerts, LogObserver
from drkit.config.decide import Witness
from drkit.config.models import Config, State
from drkit.config.places import (
    GatewayCall,
    GatewayRead,
    HttpGatewaySwitch,
    LocalProvider,
    Probe,
    Rfc2136Switch,
    Site,
    SwitchConfig,
    Target,
)
from drkit.config.sources import (
    QdrantPlace,
    QdrantSource,
    SourceConfig,
    TreeSource,
    WeightsSource,
)
from drkit.config.stores import FolderArbiter, FolderStore, RepositoryConfig
from drkit.sandbox.overrides import SANDBOX_PACE

TSIG_NAME = "drkit-sandbox."
ZONE = "drkit.test"
DRILL_PRIMARY = "drill-primary"
_RANDOM_PORT_KINDS = ("runpod", "vast")


@dataclass(frozen=True, slots=True)
class Ports:
    """Chosen once per sandbox, so that names and addresses stay what they were."""

    dns: int
    gateway: int
    drill_gateway: int
    external: int
    qdrant: int
    qdrant_restore: int
    model: int
    witness: int

    def to_json(self) -> Mapping[str, int]:
        return asdict(self)


def sandbox_config(config: Config, root: Path, ports: Ports) -> Config:
    """`config` with every place mapped below `root` and to loopback. No secret of it survives."""
    addresses = site_addresses(config)
    stores = _stores(config, root)
    return config.model_copy(
        update={
            "stores": stores,
            "repository": RepositoryConfig(
                password=(f"file:{root / 'restic-password'}",),
                min_copies=config.repository.min_copies,
            ),
            "sources": {
                name: _source(name, source, root, ports) for name, source in config.sources.items()
            },
            "sites": {
                name: _site(config, name, site, root, addresses, ports)
                for name, site in config.sites.items()
            },
            "targets": {
                name: _target(name, target, root, addresses, ports)
                for name, target in config.targets.items()
            },
            "service": config.service.model_copy(update={"api_key": None})
            if config.service
            else None,
            "switch": {
                name: _switch(switch, root, ports) for name, switch in config.switch.items()
            },
            "decide": config.decide.model_copy(
                update={
                    "witnesses": _witness(config, root, ports),
                    "reference_hosts": (f"127.0.0.1:{ports.dns}",),
                }
            ),
            "arbiter": FolderArbiter(
                kind="folder", path=str(root / "stores" / next(iter(stores)) / "arbiter")
            ),
            "probe": _probe(config, addresses, ports),
            "alerts": _alerts(config.alerts, root),
            "state": State(path=str(root), url=None),
        }
    )


def _stores(config: Config, root: Path) -> dict[str, FolderStore]:
    return {
        name: FolderStore(
            kind="folder",
            role=store.role,
            keep=store.keep,
            region=store.region,
            path=str(root / "stores" / name),
        )
        for name, store in config.stores.items()
    }


def _alerts(alerts: Alerts, root: Path) -> Alerts:
    """Each observer as a file: nobody is called by a rehearsal (R11)."""
    return alerts.model_copy(
        update={
            "observers": {
                name: LogObserver(
                    kind="log", least=observer.least, path=str(root / f"alerts-{name}.log")
                )
                for name, observer in alerts.observers.items()
            },
            "prometheus": str(root / "drkit.prom") if alerts.prometheus else None,
        }
    )


def _probe(config: Config, addresses: Mapping[str, str], ports: Ports) -> Probe:
    return config.probe.model_copy(
        update={
            "suspect_every": SANDBOX_PACE.suspect_every_s,
            "down_after_s": SANDBOX_PACE.down_after_s,
            "tls": (),
            "gpu": _gpu(config, addresses, ports),
        }
    )


def _gpu(config: Config, addresses: Mapping[str, str], ports: Ports) -> str | None:
    """The primary's stand-in shows how busy it is as DCGM's exporter does, on its own port."""
    if config.probe.gpu is None or config.service is None:
        return None
    return f"http://{addresses[config.service.primary]}:{ports.model}/dcgm/metrics"


def standby_address(target: str) -> str:
    """Under what name `site_addresses` has the standby's server: it is not where machines that are
    rented at that target answer.
    """
    return f"{target} (standby)"


def site_addresses(config: Config) -> dict[str, str]:
    """An address of its own for each site and target, so that a DNS record tells them apart."""
    standbys = [standby_address(name) for name, each in config.targets.items() if each.standby]
    names = [DRILL_PRIMARY, *config.sites, *config.targets, *standbys]
    return {name: f"127.0.0.{number}" for number, name in enumerate(names, 11)}


def _source(name: str, source: SourceConfig, root: Path, ports: Ports) -> SourceConfig:
    place = str(root / "sources" / name)
    match source:
        case QdrantSource():
            return source.model_copy(
                update={
                    "url": f"http://127.0.0.1:{ports.qdrant}",
                    "api_key": None,
                    "restore_to": QdrantPlace(url=f"http://127.0.0.1:{ports.qdrant_restore}"),
                }
            )
        case WeightsSource() | TreeSource():
            return source.model_copy(update={"path": place})
        case _:
            # A command could reach anything: its output is rehearsed by a folder.
            return TreeSource(
                kind="tree", path=place, lives_on=source.lives_on, rpo_min=source.rpo_min
            )


def _site(
    config: Config,
    name: str,
    site: Site,
    root: Path,
    addresses: Mapping[str, str],
    ports: Ports,
) -> Site:
    serves = config.service is not None and config.service.primary == name
    if site.provider is None and not serves:
        return site.model_copy(update={"endpoint": None})
    return Site(
        note=site.note,
        provider=_provider(name, root, addresses[name], ports.model),
        endpoint=f"http://{addresses[name]}:{ports.model}",
    )


def _target(
    name: str, target: Target, root: Path, addresses: Mapping[str, str], ports: Ports
) -> Target:
    port = None if target.provider.kind in _RANDOM_PORT_KINDS else ports.model
    provider = _provider(name, root, addresses[name], port)
    standby = addresses.get(standby_address(name))
    endpoint = f"http://{standby}:{ports.model}" if standby else None
    return target.model_copy(update={"provider": provider, "endpoint": endpoint})


def _witness(config: Config, root: Path, ports: Ports) -> dict[str, Witness]:
    """The first one, on a port of this machine and with a token of the sandbox's own: nobody is
    there until somebody starts one. The real ones are never asked.
    """
    own = {"url": f"http://127.0.0.1:{ports.witness}", "token": (f"file:{root}/witness-token",)}
    return {
        name: witness.model_copy(update={**own, "trust": None})
        for name, witness in list(config.decide.witnesses.items())[:1]
    }


def _provider(name: str, root: Path, host: str, port: int | None) -> LocalProvider:
    return LocalProvider(
        kind="local",
        path=str(root / "sites" / name),
        host=host,
        port=port,
        argv=(
            *(sys.executable, "-m", "drkit.standins.model", "--data", "{data}"),
            *("--host", "{host}", "--port", "{port}"),
            *("--served-model-name", "{model}", "--instance", "{instance}"),
        ),
    )


def _switch(switch: SwitchConfig, root: Path, ports: Ports) -> SwitchConfig:
    record = getattr(switch, "record", None)
    if isinstance(record, str):
        zone = str(getattr(switch, "zone", ZONE))
        return Rfc2136Switch(
            kind="rfc2136",
            zone=zone,
            record=record,
            drill_record=f"drill-{record}",
            ttl_s=SANDBOX_PACE.ttl_s,
            server="127.0.0.1",
            port=ports.dns,
            key_name=TSIG_NAME,
            key_secret=(f"file:{root / 'tsig-key'}",),
        )
    return HttpGatewaySwitch(
        kind="http",
        url=f"http://127.0.0.1:{ports.gateway}",
        drill_url=f"http://127.0.0.1:{ports.drill_gateway}",
        route=GatewayCall(path="/api/admin/upstream", params={"url": "{url}"}),
        read=GatewayRead(upstream="tiers.1.url"),
    )
