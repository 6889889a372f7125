"""Where the stack lives, where it can be brought up, and what moves traffic between them."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from drkit.config.fields import LocalPath, Seconds, SecretRef, Strict


class LambdaProvider(Strict):
    """Lambda Cloud on-demand instances."""

    kind: Literal["lambda"]
    api_key: SecretRef
    ssh_key_name: str


class KubernetesProvider(Strict):
    """Any Kubernetes; CoreWeave is a preset of it."""

    kind: Literal["kubernetes"]
    preset: Literal["coreweave"] | None = None
    kubeconfig: SecretRef
    namespace: str = "drkit"


class RunpodProvider(Strict):
    kind: Literal["runpod"]
    api_key: SecretRef


class VastProvider(Strict):
    kind: Literal["vast"]
    api_key: SecretRef


class SshProvider(Strict):
    """A host of one's own, reached with the system's OpenSSH."""

    kind: Literal["ssh"]
    host: str
    identity: SecretRef


class CommandProvider(Strict):
    """Programs of the operator's that create, find and destroy."""

    kind: Literal["command"]
    argv: tuple[str, ...] = Field(min_length=1)


class LocalProvider(Strict):
    """Processes on this machine; an instance is a folder and the process that serves from it.

    `argv` starts the server once the weights are in place. It may hold {data} (the instance's
    model folder), {host}, {port}, {model} (the served name) and {instance}.
    """

    kind: Literal["local"]
    path: LocalPath
    host: str
    port: int | None = Field(None, description="None: any free port, which DNS cannot carry.")
    argv: tuple[str, ...] = Field(min_length=1)


ProviderConfig = Annotated[
    LambdaProvider
    | KubernetesProvider
    | RunpodProvider
    | VastProvider
    | SshProvider
    | CommandProvider
    | LocalProvider,
    Field(discriminator="kind"),
]


RANDOM_PORT_KINDS = ("runpod", "vast")


def has_fixed_port(provider: ProviderConfig) -> bool:
    """Whether servers on it answer on a port that was chosen, so that DNS alone can lead there."""
    if isinstance(provider, LocalProvider):
        return provider.port is not None
    return provider.kind not in RANDOM_PORT_KINDS


class Candidate(Strict):
    """A GPU that will do, where, and the most it may cost."""

    gpu: str
    region: str | None = None
    quantization: str | None = None
    max_usd_per_hour: float = Field(gt=0)
    tier: Literal["same", "lower"] = Field(
        "same",
        description="lower: it may answer otherwise than the primary did, and is not compared.",
    )


class Limits(Strict):
    """What a run may spend and how long what it creates may live."""

    usd_per_hour: float | None = Field(None, gt=0)
    usd_per_run: float | None = Field(None, gt=0, description="A drill buys nothing without it.")
    ttl_min: float = Field(240, gt=0)


class Site(Strict):
    """A place where parts of the stack live."""

    note: str = ""
    provider: ProviderConfig | None = None
    endpoint: str | None = Field(
        None, description="URL of the vLLM server on this site, by address and not by public name."
    )
    instance: str | None = Field(
        None, description="The provider's id of the machine; default: the one at that address."
    )


class Target(Strict):
    """A site where the service can be brought up."""

    provider: ProviderConfig
    candidates: tuple[Candidate, ...] = Field(min_length=1)
    limits: Limits = Limits()
    note: str = ""
    standby: bool = Field(
        False, description="It runs already, and is verified at every probe: a warm standby."
    )
    endpoint: str | None = Field(
        None, description="URL of the standby's server, by address and not by public name."
    )

    @model_validator(mode="after")
    def _standby_answers_somewhere(self) -> Self:
        if self.standby and self.endpoint is None:
            raise ValueError("a standby needs the `endpoint` at which it is verified")
        return self


class External(Strict):
    """The external API that serves users while there is no GPU."""

    model: str = Field(description="The name it gives itself in its answers.")


class Service(Strict):
    """What is protected, seen from its users."""

    name: str
    model: str = Field(description="The model name that vLLM serves.")
    weights: str | None = Field(None, description="The source that holds its weights.")
    primary: str = Field(description="The site that serves it in normal times.")
    image: str = "vllm/vllm-openai:v0.33.0"
    args: tuple[str, ...] = ()
    port: int = 8000
    api_key: SecretRef | None = None
    server: Literal["vllm", "sglang", "llama.cpp", "tgi"] | None = Field(
        None, description="What answers; default: what its metrics show that it is."
    )
    external: External | None = None


class _Dns(Strict):
    zone: str
    record: str
    ttl_s: int = Field(60, ge=0)
    drill_record: str | None = Field(None, description="A name of its own for drills.")
    tls: Literal["none", "edge", "gateway", "endpoint"] | None = Field(
        None,
        description="Who terminates TLS for the name: nobody (plain HTTP), an edge in front of it, "
        "the gateway, or the server itself.",
    )


class CloudflareSwitch(_Dns):
    kind: Literal["cloudflare"]
    token: SecretRef


class Route53Switch(_Dns):
    kind: Literal["route53"]
    zone_id: str
    access_key_id: SecretRef
    secret_access_key: SecretRef


class PowerdnsSwitch(_Dns):
    kind: Literal["powerdns"]
    url: str
    api_key: SecretRef


class Rfc2136Switch(_Dns):
    """Any DNS server that takes signed updates (BIND, Knot, PowerDNS)."""

    kind: Literal["rfc2136"]
    server: str
    port: int = 53
    key_name: str
    key_secret: SecretRef
    key_algorithm: Literal["hmac-sha256", "hmac-sha512"] = "hmac-sha256"


class GatewayCall(Strict):
    """One admin call. `params` are query parameters and may hold {url}, the endpoint's URL."""

    method: Literal["GET", "POST", "PUT", "PATCH"] = "POST"
    path: str
    params: dict[str, str] = {}


class GatewayRead(Strict):
    """Where the gateway shows its state: dotted paths into the JSON that `path` answers with."""

    path: str = "/api/admin/config"
    enabled: str = "tiers.1.enabled"
    upstream: str | None = Field(None, description="None: it follows a DNS name.")


class GatewayStats(Strict):
    """Where the gateway counts: dotted paths into the JSON that `path` answers with."""

    path: str = "/api/admin/stats"
    requests: str | None = "requests"
    fallbacks: str | None = "fallbacks"
    failures: str | None = "failures"
    confidence: str | None = Field("confidence", description="A mean, 0 to 1.")
    p95_ms: str | None = Field(None, description="Its own 95th percentile, in milliseconds.")
    p99_ms: str | None = Field(None, description="Its own 99th percentile, in milliseconds.")


class HttpGatewaySwitch(Strict):
    """A gateway with an admin API; the defaults are the preset for tiered gateways."""

    kind: Literal["http"]
    url: str
    drill_url: str | None = None
    token: SecretRef | None = None
    hold: GatewayCall = GatewayCall(path="/api/admin/emergency-rollback")
    resume: GatewayCall = GatewayCall(
        path="/api/admin/toggle-tier", params={"tier": "1", "enabled": "true"}
    )
    route: GatewayCall | None = Field(None, description="None: it follows a DNS name.")
    read: GatewayRead = GatewayRead()
    stats: GatewayStats | None = Field(
        GatewayStats(), description="null: this gateway has no statistics."
    )


class OtherSwitch(Strict):
    """Kinds whose settings come with their adapters."""

    kind: Literal["env-file", "nginx", "litellm", "command", "gate"]
    settings: dict[str, str] = {}


SwitchConfig = Annotated[
    CloudflareSwitch
    | Route53Switch
    | PowerdnsSwitch
    | Rfc2136Switch
    | HttpGatewaySwitch
    | OtherSwitch,
    Field(discriminator="kind"),
]


class Probe(Strict):
    """How the primary is watched; defaults of docs/architecture.md."""

    down_after: int = Field(3, ge=2, description="Failed rounds in a row before DOWN.")
    down_after_s: Seconds = Field("45s", validate_default=True)
    up_after: int = Field(5, ge=1, description="Good rounds in a row before HEALTHY again.")
    known_after: int = Field(3, ge=1, description="Good rounds before a new service is HEALTHY.")
    suspect_every: Seconds = Field("10s", validate_default=True)
    completion_timeout: Seconds = Field("15s", validate_default=True)
    slow_every: Seconds = Field(
        "5m", validate_default=True, description="Stores, Qdrant, TLS, the provider, trees."
    )
    tls: tuple[str, ...] = Field(
        (), description="name or name:port whose certificates are watched, beside https endpoints."
    )
    gpu: str | None = Field(
        None, description="URL of a DCGM or nvidia-smi exporter's metrics on the primary."
    )
