"""Lints of what a runbook needs of this deployment: names, TLS, models, credentials. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from drkit.config.places import HttpGatewaySwitch, OtherSwitch, SwitchConfig, has_fixed_port
from drkit.config.secret_refs import references
from drkit.runs.book.plan import leads_to_standby
from drkit.runs.lints.values import USED_BY_RUNS, Finding, Level, Path, Subject
from drkit.runs.records import Effect

EXERCISED_WITHIN_S = 24 * 3600.0


def endpoints(subject: Subject) -> Iterator[Finding]:
    """Each place that traffic may be led to is one that a switch can carry."""
    if not subject.leads_to_site:
        return
    switches = subject.config.switch
    if not switches:
        yield Finding(
            "endpoints",
            "refuse",
            ("switch",),
            "there is no switch, so that traffic cannot be moved",
            "add one: a DNS record, or a gateway",
            in_config=True,
        )
        return
    if subject.runbook.kind == "failback":
        return  # the primary was served by these switches before
    standby = leads_to_standby(subject.runbook)
    for name, target in subject.config.targets.items():
        if standby and not target.standby:
            continue
        refusals = {
            switch: why
            for switch, config in switches.items()
            if (why := _refusal(subject, config, fixed=has_fixed_port(target.provider)))
        }
        if len(refusals) == len(switches):
            yield _led_by_none(name, refusals)
        else:
            yield from (_not_led_by(name, switch, why) for switch, why in refusals.items())


def _led_by_none(target: str, refusals: Mapping[str, str]) -> Finding:
    said = "; ".join(f"{switch}: {why}" for switch, why in refusals.items())
    return Finding(
        "endpoints",
        "refuse",
        ("targets", target, "provider"),
        f"no switch can lead to {target}: {said}",
        "put a gateway with `route` and `read.upstream` in front, or choose a target whose port is "
        "fixed",
        in_config=True,
    )


def _not_led_by(target: str, switch: str, why: str) -> Finding:
    return Finding(
        "endpoints",
        "warn",
        ("targets", target, "provider"),
        f"{switch} cannot lead to {target} and stays where it is: {why}",
        "let users come through the gateway, which can",
        in_config=True,
    )


def _refusal(subject: Subject, switch: SwitchConfig, *, fixed: bool) -> str:
    """Why this kind of switch cannot carry such an endpoint; empty if it can."""
    match switch:
        case HttpGatewaySwitch():
            if switch.route is None and not (fixed and _has_dns(subject)):
                return "it follows a DNS name (it has no `route`), and DNS carries no port"
            if switch.route is not None and switch.read.upstream is None:
                return "its upstream could not be read back (it has no `read.upstream`)"
            return ""
        case OtherSwitch():
            return ""
        case _:
            return "" if fixed else "its port is not chosen by us, and an A record carries no port"


def _has_dns(subject: Subject) -> bool:
    return any(hasattr(switch, "record") for switch in subject.config.switch.values())


def external(subject: Subject) -> Iterator[Finding]:
    """Where users are held, there is an external API and something that sends them to it."""
    config = subject.config
    used = {step.action for _, step, _ in subject.steps()}
    if not used & {"hold", "verify_held"}:
        return
    level: Level = "refuse" if "verify_held" in used else "warn"
    if config.service is not None and config.service.external is None:
        yield Finding(
            "external",
            level,
            ("service", "external"),
            "there is no external API, so that users wait while nobody serves",
            "write `external: {model: NAME}`, the name it gives itself in its answers",
            in_config=True,
        )
    elif not any(isinstance(s, HttpGatewaySwitch | OtherSwitch) for s in config.switch.values()):
        yield Finding(
            "external",
            level,
            ("switch",),
            "no switch can send users to the external API: DNS cannot",
            "add a gateway, a switch of kind http",
            in_config=True,
        )


def weights(subject: Subject) -> Iterator[Finding]:
    """A machine that is rented can be given the weights that it is to serve."""
    service = subject.config.service
    if subject.has(Effect.PAID) and service is not None and service.weights is None:
        yield Finding(
            "weights",
            "refuse",
            ("service", "weights"),
            "the service names no weights, and a machine that is rented cannot serve without them",
            "name a source of kind weights with `mode: mirror`, or take this runbook out",
            in_config=True,
        )


def tls(subject: Subject) -> Iterator[Finding]:
    """Somebody terminates TLS for the public name, wherever it leads, or nobody does on purpose."""
    service = subject.config.service
    if not subject.leads_to_site or service is None:
        return
    gateways = [s for s in subject.config.switch.values() if isinstance(s, HttpGatewaySwitch)]
    for name, switch in subject.config.switch.items():
        record = getattr(switch, "record", None)
        if record is None:
            continue
        at, said = ("switch", name, "tls"), getattr(switch, "tls", None)
        if said is None:
            text = f"nobody says who terminates TLS for {record} once it leads elsewhere"
            yield Finding(
                "tls", "warn", at, text, "write `tls: edge`, `gateway`, `endpoint` or `none`", True
            )
        elif said == "gateway" and not gateways:
            text = f"a gateway is to terminate TLS for {record}, and there is none"
            yield Finding("tls", "refuse", at, text, "add a switch of kind http", True)
        elif said == "endpoint" and not any(a.startswith("--ssl-certfile") for a in service.args):
            yield Finding(
                "tls",
                "refuse",
                at,
                f"the server is to terminate TLS for {record}, and is started without a "
                "certificate",
                "add `--ssl-certfile` and `--ssl-keyfile` to service.args, or let an edge do it",
                in_config=True,
            )


def golden(subject: Subject) -> Iterator[Finding]:
    """Each GPU candidate is compared with recorded answers, or is said to be a lower tier."""
    if not subject.has(Effect.PAID):
        return
    for name, target in subject.config.targets.items():
        for index, candidate in enumerate(target.candidates):
            if candidate.quantization is not None and candidate.tier == "same":
                yield Finding(
                    "golden",
                    "refuse",
                    ("targets", name, "candidates", index, "quantization"),
                    f"{candidate.gpu} serves {candidate.quantization}, whose answers are not those "
                    "that were recorded",
                    "write `tier: lower` if such answers will do, or take the quantisation out",
                    in_config=True,
                )
    if subject.known.golden is False:
        yield Finding(
            "golden",
            "warn",
            ("service", "model"),
            "the newest point holds no golden answers, so that no target can be compared",
            "back up while the primary answers: drkit backup",
            in_config=True,
        )
    elif subject.known.golden is None:
        text = "whether a golden baseline was recorded is not measured"
        yield Finding("golden", "note", ("service", "model"), text, "", in_config=True)


def credentials(subject: Subject) -> Iterator[Finding]:
    """What a run will need to sign in with worked within a day."""
    unknown: list[str] = []
    for part in _parts(subject):
        used_s = subject.known.used_s.get(".".join(map(str, part)))
        if used_s is None:
            unknown.append(".".join(map(str, part)))
        elif used_s > EXERCISED_WITHIN_S:
            yield Finding(
                "credentials",
                "warn",
                part,
                f"its credential last worked {used_s / 3600:.0f} h ago",
                "look whether it still does: drkit doctor, or a drill",
                in_config=True,
            )
    if unknown:
        text = f"not measured when these credentials last worked: {', '.join(unknown)}"
        yield Finding("credentials", "note", (), text, "", in_config=True)


def _parts(subject: Subject) -> list[Path]:
    """Each place that a run signs in to, once."""
    found: dict[Path, None] = {}
    for path, _ in references(subject.config, only=USED_BY_RUNS):
        words = path.split(".")
        found[tuple(words[: 2 if words[0] in ("stores", "targets", "switch") else 1])] = None
    bought = subject.has(Effect.PAID)
    return [part for part in found if bought or part[0] != "targets"]
