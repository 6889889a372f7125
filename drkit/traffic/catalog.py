"""Which kinds of switches this version can open, and the credentials that each one needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from drkit.config.places import HttpGatewaySwitch, Rfc2136Switch, SwitchConfig
from drkit.errors import ConfigError, NotInThisVersion
from drkit.secrets.interface import Secrets
from drkit.traffic.interface import Namespace, Switch


def open_switch(
    name: str, config: SwitchConfig, secrets: Secrets, *, namespace: Namespace
) -> Switch | None:
    """The switch in `namespace`; None for a drill when it has no drill name of its own (R11).

    Raises `MissingCredential` first, and then `NotInThisVersion` for a kind without an adapter.
    """
    if namespace == "drill" and not _has_drill_name(name, config):
        return None
    for field in CREDENTIALS[config.kind]:
        if (reference := getattr(config, field)) is not None:
            secrets.resolve(reference)
    opener = OPENERS.get(config.kind)
    if opener is None:
        raise NotInThisVersion(
            f"switch {config.kind}",
            hint="--sandbox rehearses it on this machine; rfc2136 and http are in this version",
        )
    return opener(name, config, secrets, namespace)


def _has_drill_name(name: str, config: SwitchConfig) -> bool:
    for drill, real in (("drill_record", "record"), ("drill_url", "url")):
        if own := getattr(config, drill, None):
            if _same(own, getattr(config, real)):
                raise ConfigError(
                    f"switch.{name}.{drill} is production's own {real}: {own}",
                    hint="a drill never touches production: give it a name of its own, or none",
                )
            return True
    return False


def _same(one: str, other: str) -> bool:
    return one.rstrip("./").lower() == other.rstrip("./").lower()


def _rfc2136(name: str, config: Rfc2136Switch, secrets: Secrets, namespace: Namespace) -> Switch:
    from drkit.traffic.rfc2136 import Key, Rfc2136Record

    record = config.record if namespace == "production" else config.drill_record
    return Rfc2136Record(
        name,
        zone=config.zone,
        record=record or config.record,
        ttl_s=config.ttl_s,
        server=config.server,
        port=config.port,
        key=Key(config.key_name, secrets.resolve(config.key_secret), config.key_algorithm),
    )


def _http(name: str, config: HttpGatewaySwitch, secrets: Secrets, namespace: Namespace) -> Switch:
    from drkit.traffic.http_gateway import HttpGateway

    url = config.url if namespace == "production" else config.drill_url
    return HttpGateway(
        name,
        url=url or config.url,
        token=secrets.resolve(config.token) if config.token else None,
        hold=config.hold,
        resume=config.resume,
        route=config.route,
        read=config.read,
    )


# The value types differ by key; each opener takes the configuration of its own kind.
OPENERS: dict[str, Callable[[str, Any, Secrets, Namespace], Switch]] = {
    "rfc2136": _rfc2136,
    "http": _http,
}

CREDENTIALS: dict[str, tuple[str, ...]] = {
    "cloudflare": ("token",),
    "route53": ("access_key_id", "secret_access_key"),
    "powerdns": ("api_key",),
    "rfc2136": ("key_secret",),
    "http": ("token",),
    "env-file": (),
    "nginx": (),
    "litellm": (),
    "command": (),
    "gate": (),
}
