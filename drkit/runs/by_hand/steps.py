"""What a person would type for each step, if drkit were not there: real commands, no secret.

A reference to a secret becomes the shell's way to it ($NAME, $(cat FILE), ...), never its value.
What only the run itself will know stands as <WORD>.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence

from drkit.config.models import Config
from drkit.config.places import HttpGatewaySwitch, Rfc2136Switch, Route53Switch, SwitchConfig
from drkit.config.sources import AnyWeights, QdrantSource, TreeSource, WeightsSource
from drkit.config.stores import B2Store, FolderStore, GcsStore, StoreConfig
from drkit.runs.book.plan import Plan, PlannedStep
from drkit.runs.by_hand.machines import create_lines, destroy_lines, list_lines
from drkit.runs.by_hand.words import auth, gateway_call, secret
from drkit.runs.records import JSON

INSTANCE, ADDRESS, SNAPSHOT = "<INSTANCE>", "<ADDRESS>", "<SNAPSHOT>"


def by_hand(step: PlannedStep, plan: Plan, config: Config) -> tuple[str, ...]:
    """Lines for a shell; those that begin with # are done with eyes or in a web page. Pure."""
    write = _WRITERS.get(step.action)
    named = _drill_names(config) if plan.namespace == "drill" else config
    return tuple(write(plan, named)) if write else (f"# {step.action}: no command by hand",)


def _drill_names(config: Config) -> Config:
    """The configuration as a drill has it: names of its own, and no switch that has none (R11)."""
    switches = {}
    for name, switch in config.switch.items():
        for drill, real in (("drill_record", "record"), ("drill_url", "url")):
            if (own := getattr(switch, drill, None)) is not None:
                switches[name] = switch.model_copy(update={real: own})
    return config.model_copy(update={"switch": switches})


def _hold(plan: Plan, config: Config) -> list[str]:
    lines = [
        gateway_call(switch, switch.hold, "")
        for switch in config.switch.values()
        if isinstance(switch, HttpGatewaySwitch)
    ]
    return lines or ["# no switch can send users to an external API: they wait"]


def _preflight(plan: Plan, config: Config) -> list[str]:
    repository = _repository(config)
    lines = [f"{repository} snapshots --latest 1"]
    if plan.kind == "failback":
        return [_chat(_primary(plan, config), config), *lines]
    if not plan.asks_provider:
        return lines
    target = config.targets.get(plan.target)
    return [*(list_lines(target.provider) if target else []), *lines]


def _acquire(plan: Plan, config: Config) -> list[str]:
    target, service = config.targets[plan.target], config.service
    assert service is not None
    return create_lines(target, service, plan)


def _deploy(plan: Plan, config: Config) -> list[str]:
    service = config.service
    assert service is not None
    weights = config.sources.get(service.weights or "")
    lines = []
    if isinstance(weights, WeightsSource):
        place = _mirror(config, weights)
        lines = [f"# on the machine: fetch {place} and check it against its manifest.json"]
    words = ["vllm", "serve", "/models", "--served-model-name", service.model, *service.args]
    return [
        *lines,
        f"# on the machine: {shlex.join(words)} --port {service.port}",
        _chat("", config),
    ]


def _fence(plan: Plan, config: Config) -> list[str]:
    living = [
        name
        for name, source in config.sources.items()
        if source.lives_on == plan.primary and not isinstance(source, AnyWeights)
    ]
    if not living:
        return [f"# nothing to fence: no source that can change lives on {plan.primary}"]
    return [f"# see that nothing on {plan.primary} writes to {', '.join(living)} any more"]


def _fence_target(plan: Plan, config: Config) -> list[str]:
    return [f"# see that nothing writes to what was brought to {plan.target} any more"]


def _point(plan: Plan, config: Config) -> list[str]:
    return [f"{_repository(config)} snapshots --tag drkit --compact"]


def _restore(plan: Plan, config: Config) -> list[str]:
    lines = []
    for name, source in config.sources.items():
        lost = plan.kind == "drill" or source.lives_on in plan.lost
        if not lost or isinstance(source, WeightsSource):
            continue
        into = f"restored/{name}"
        lines.append(f"{_repository(config)} restore {SNAPSHOT}:/{name} --target {into}")
        if isinstance(source, QdrantSource) and source.restore_to is not None:
            lines.append(_upload(source.restore_to.url, into))
    return lines or [f"# nothing lived on {', '.join(plan.lost)} that is not on the new machine"]


def brought_home(plan: Plan) -> Mapping[str, Mapping[str, JSON]]:
    """What a failback brings home, by source, as its plan froze it."""
    for step in plan.steps:
        brought = step.arguments.get("brought")
        if isinstance(brought, Mapping):
            return {name: place for name, place in brought.items() if isinstance(place, Mapping)}
    return {}


def _nothing(plan: Plan) -> list[str]:
    return [f"# nothing was brought to {plan.target} that would have to come home"]


def _final_point(plan: Plan, config: Config) -> list[str]:
    places = [str(place.get("url") or place.get("into")) for place in brought_home(plan).values()]
    if not places:
        return _nothing(plan)
    return [f"{_repository(config)} backup --tag drkit {shlex.join(places)}"]


def _divergence(plan: Plan, config: Config) -> list[str]:
    return (
        [f"{_repository(config)} diff {SNAPSHOT} latest"] if brought_home(plan) else _nothing(plan)
    )


def _restore_home(plan: Plan, config: Config) -> list[str]:
    lines = []
    for name in brought_home(plan):
        source = config.sources.get(name)
        beside = shlex.quote(f"{source.path}.new" if isinstance(source, TreeSource) else name)
        lines.append(f"{_repository(config)} restore latest:/{name} --target {beside}")
        if isinstance(source, QdrantSource):
            lines.append(_upload(source.url, name))
    return lines or _nothing(plan)


def _swap_home(plan: Plan, config: Config) -> list[str]:
    lines = []
    for name in brought_home(plan):
        match config.sources.get(name):
            case TreeSource(path=path):
                former, new = shlex.quote(f"{path}.before"), shlex.quote(f"{path}.new")
                lines.append(f"mv {shlex.quote(path)} {former} && mv {new} {shlex.quote(path)}")
            case QdrantSource(url=url):
                lines.append(f"curl -fsS -X POST {url}/collections/aliases -d '<ACTIONS>'")
    return lines or _nothing(plan)


def _leads_to(plan: Plan, config: Config) -> str:
    """The server that traffic is to reach, as far as it is known before the run."""
    if plan.kind == "failback":
        return _primary(plan, config)
    target = config.targets.get(plan.target)
    if target is not None and target.endpoint is not None and not plan.asks_provider:
        return target.endpoint
    return f"http://{ADDRESS}:{_port(config)}"


def _upload(url: str, folder: str) -> str:
    """One shard's snapshot into a collection, as Qdrant takes it."""
    query = "priority=snapshot"
    place = f"{url}/collections/<COLLECTION>/shards/0/snapshots/upload?{query}"
    return f"curl -fsS -X POST '{place}' -F snapshot=@{folder}/<FILE>"


def _verify(plan: Plan, config: Config) -> list[str]:
    return [
        _chat(_leads_to(plan, config), config),
        "# compare the answers, counts and files with those of the point",
    ]


def _cutover(plan: Plan, config: Config) -> list[str]:
    url = _leads_to(plan, config)
    host = url.partition("://")[2].rpartition(":")[0]
    return [line for switch in config.switch.values() for line in _lead(switch, url, host)]


def _verify_public(plan: Plan, config: Config) -> list[str]:
    lines = [
        f"dig +short {record} A"
        for switch in config.switch.values()
        if (record := getattr(switch, "record", None))
    ]
    return [*lines, _chat(_gateway(config), config, "-H 'x-no-fallback: 1'")]


def _observe(plan: Plan, config: Config) -> list[str]:
    return [f"watch -n 10 curl -fsS {_leads_to(plan, config)}/health"]


def _standby(plan: Plan, config: Config) -> list[str]:
    return [f"curl -fsS {_leads_to(plan, config)}/health"]


def _commit(plan: Plan, config: Config) -> list[str]:
    home = plan.primary if plan.kind == "failback" else plan.target
    return [f"# write down that {plan.service} lives on {home}, and tell those who have to know"]


def _release(plan: Plan, config: Config) -> list[str]:
    target = config.targets.get(plan.target)
    return destroy_lines(target.provider) if target else ["# there is no machine to give back"]


def _verify_held(plan: Plan, config: Config) -> list[str]:
    external = config.service.external if config.service else None
    named = external.model if external else "the external API's model"
    return [_chat(_gateway(config), config), f"# the answer names {named}"]


def _record_hold(plan: Plan, config: Config) -> list[str]:
    return [f"# tell everybody that {plan.service} is served by the external API"]


_WRITERS: dict[str, Callable[[Plan, Config], Sequence[str]]] = {
    "hold": _hold,
    "preflight": _preflight,
    "acquire": _acquire,
    "deploy": _deploy,
    "fence": _fence,
    "fence_target": _fence_target,
    "point": _point,
    "final_point": _final_point,
    "divergence": _divergence,
    "restore": _restore,
    "restore_home": _restore_home,
    "swap_home": _swap_home,
    "verify": _verify,
    "verify_held": _verify_held,
    "record_hold": _record_hold,
    "cutover": _cutover,
    "verify_public": _verify_public,
    "observe": _observe,
    "commit": _commit,
    "release": _release,
    "standby": _standby,
}


def _lead(switch: SwitchConfig, url: str, host: str) -> list[str]:
    match switch:
        case HttpGatewaySwitch():
            calls = [gateway_call(switch, switch.route, url)] if switch.route else []
            return [*calls, gateway_call(switch, switch.resume, url)]
        case Rfc2136Switch():
            name, ttl = f"{switch.record}.", switch.ttl_s
            key = f"{switch.key_algorithm}:{switch.key_name}:{secret(switch.key_secret)}"
            update = (
                f"server {switch.server} {switch.port}\\nupdate delete {name} A\\n"
                f"update add {name} {ttl} A {host}\\nsend\\n"
            )
            return [f'printf "{update}" | nsupdate -y "{key}"']
        case Route53Switch():
            change = (
                f'{{"Changes":[{{"Action":"UPSERT","ResourceRecordSet":{{"Name":"{switch.record}",'
                f'"Type":"A","TTL":{switch.ttl_s},"ResourceRecords":[{{"Value":"{host}"}}]}}}}]}}'
            )
            return [
                "aws route53 change-resource-record-sets "
                f"--hosted-zone-id {switch.zone_id} --change-batch '{change}'"
            ]
        case _:
            record = getattr(switch, "record", None)
            if record is None:
                return [f"# lead the {switch.kind} switch to {url}"]
            ttl = getattr(switch, "ttl_s", 60)
            return [f"# at {switch.kind}: {record} A {host}, TTL {ttl} s"]


def _chat(url: str, config: Config, header: str = "") -> str:
    service = config.service
    assert service is not None
    at = url or f"http://{ADDRESS}:{service.port}"
    body = f'{{"model":"{service.model}","messages":[{{"role":"user","content":"ping"}}]}}'
    words = [f"curl -fsS {at}/v1/chat/completions", auth(service.api_key), header]
    return " ".join(word for word in words if word) + f" -d '{body}'"


def _gateway(config: Config) -> str:
    for switch in config.switch.values():
        if isinstance(switch, HttpGatewaySwitch):
            return switch.url
    for switch in config.switch.values():
        if record := getattr(switch, "record", None):
            return f"http://{record}:{_port(config)}"
    return ""


def _primary(plan: Plan, config: Config) -> str:
    site = config.sites.get(plan.primary)
    return site.endpoint if site and site.endpoint else f"http://<{plan.primary}>"


def _port(config: Config) -> int:
    return config.service.port if config.service else 8000


def _repository(config: Config) -> str:
    """restic with the first store's repository; its password comes by reference too."""
    first = next(iter(config.stores.values()))
    return f'RESTIC_PASSWORD="{secret(config.repository.password)}" restic -r {_place(first)}'


def _place(store: StoreConfig) -> str:
    """The repository's address, as restic writes it."""
    below = "/".join(part for part in (store.prefix.strip("/"), "repository") if part)
    match store:
        case FolderStore():
            return shlex.quote(f"{store.path.rstrip('/')}/{below}")
        case GcsStore():
            return f"gs:{store.bucket}:/{below}"
        case B2Store():
            return f"s3:{store.endpoint}/{store.bucket}/{below}"
        case _:
            host = store.endpoint or "s3.amazonaws.com"
            return f"s3:{host}/{store.bucket}/{below}"


def _mirror(config: Config, weights: WeightsSource) -> str:
    store = config.stores[weights.stores[0]]
    place = store.path if isinstance(store, FolderStore) else f"{store.kind} bucket {store.bucket}"
    return f"weights/{weights.model}/{weights.revision} of {place}"
