"""When an alert is raised, and who is told."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from drkit.config.fields import LocalPath, Name, Seconds, SecretRef, Strict, check_url

Level = Literal["warning", "critical"]
Metric = Literal[
    "ttft_p50",
    "ttft_p90",
    "ttft_p95",
    "ttft_p99",
    "latency_p50",
    "latency_p90",
    "latency_p95",
    "latency_p99",
    "tokens_per_s",
    "running",
    "waiting",
    "kv_cache",
    "error_rate",
    "availability_1h",
    "availability_24h",
    "availability_30d",
    "stalled",
    "gpu",
    "fallback_rate",
    "gateway_error_rate",
    "gateway_p95",
    "gateway_p99",
    "confidence",
    "tls_days",
    "down",
    "flapping",
    "blind",
]
"""What a limit can be set on; docs/how-to/alerts.md says what each is."""


class LimitConfig(Strict):
    """Changes one of drkit's limits, or adds one: then `metric` and `above` or `below` are due."""

    metric: Metric | None = None
    above: float | None = Field(None, description="Raised when the metric is more.")
    below: float | None = Field(None, description="Raised when the metric is less.")
    clear: float | None = Field(None, description="Over when it is back here; default: the same.")
    lasting: Seconds | None = Field(None, description="How long it must stand there.")
    level: Level | None = None
    samples: int | None = Field(None, ge=1, description="On fewer it says nothing.")
    off: bool = False

    @model_validator(mode="after")
    def _one_side(self) -> Self:
        if self.above is not None and self.below is not None:
            raise ValueError("a limit is either `above` or `below`")
        bound = self.above if self.above is not None else self.below
        if bound is not None and self.clear is not None:
            wrong = self.clear > bound if self.above is not None else self.clear < bound
            if wrong:
                raise ValueError("`clear` lies on the good side of the limit")
        return self


class _Observer(Strict):
    least: Level = Field("warning", description="critical: nothing less is told.")


class LogObserver(_Observer):
    """A JSON line for each alert."""

    kind: Literal["log"]
    path: LocalPath = "alerts.log"


class WebhookObserver(_Observer):
    """A POST of JSON; docs/formats.md describes it."""

    kind: Literal["webhook"]
    url: Annotated[str, AfterValidator(check_url)]
    token: SecretRef | None = Field(None, description="Sent as a bearer token.")
    trust: LocalPath | None = Field(
        None, description="PEM file of a certificate to trust; default: this machine's own."
    )


class CommandObserver(_Observer):
    """A program that gets the alert as JSON on its standard input."""

    kind: Literal["command"]
    argv: tuple[str, ...] = Field(min_length=1)


ObserverConfig = Annotated[
    LogObserver | WebhookObserver | CommandObserver, Field(discriminator="kind")
]


class Alerts(Strict):
    """Limits of what is measured. They alert; they never move traffic."""

    limits: dict[str, LimitConfig] = Field(
        {}, description="By name: drkit's own, a probe's (`store gcs`), or one of your own."
    )
    window: Seconds = Field(
        "5m", validate_default=True, ge=60, le=900, description="What is measured is of so long."
    )
    observers: dict[Name, ObserverConfig] = {}
    prometheus: LocalPath | None = Field(
        None, description="A file for node_exporter's textfile collector, written at each probe."
    )
