"""When drkit may act by itself, and when it asks."""

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from drkit.config.fields import LocalPath, Name, Seconds, SecretRef, Strict, check_url

REFERENCE_HOSTS = ("1.1.1.1:443", "8.8.8.8:443", "9.9.9.9:443")


def _check_verifying_key(value: str) -> str:
    if not re.fullmatch(r"ed25519:[A-Za-z0-9+/]{43}=", value):
        raise ValueError("write what `drkit witness --show-key` prints there: ed25519:...")
    return value


def _check_witness_url(value: str) -> str:
    parts = urlsplit(check_url(value))
    host = parts.hostname or ""
    if parts.scheme != "https" and host not in ("localhost", "::1") and host[:4] != "127.":
        raise ValueError("beyond loopback a witness is asked by https: the token would be readable")
    return value


class Witness(Strict):
    """Another host that probes the same server: a second point of view."""

    url: Annotated[str, AfterValidator(_check_witness_url)]
    token: SecretRef
    verifying_key: Annotated[str, AfterValidator(_check_verifying_key)] = Field(
        description="What the witness signs with; `drkit witness --show-key` prints it there."
    )
    trust: LocalPath | None = Field(
        None, description="PEM file of a certificate to trust; default: this machine's own."
    )


class Decide(Strict):
    """By default a person approves each failover; users are held at once, for that is free."""

    mode: Literal["observe", "approve", "auto"] = Field(
        "approve",
        description="observe: says what it would have done. auto: needs a witness, a standby, and "
        "a runbook that costs nothing and asks nobody.",
    )
    to: Name | None = Field(None, description="The target; default: the first one.")
    protect: Literal["auto", "off"] = Field(
        "auto", description="auto: users go to the external API as soon as the service is DOWN."
    )
    runbook: Name | None = Field(
        None,
        description="What a decision carries out; default: switch-to-standby in mode auto with a "
        "standby, else primary-gpu-down.",
    )
    lease: Seconds = Field(
        "10s",
        validate_default=True,
        ge=2,
        description="How long a daemon leads without renewing; another one takes over after it.",
    )
    approval_wait: Seconds = Field("15m", validate_default=True)
    cooldown: Seconds = Field("1h", validate_default=True)
    most_per_day: int = Field(1, ge=0, description="Failovers that nobody typed, in 24 hours.")
    most_per_week: int = Field(2, ge=0, description="Failovers that nobody typed, in 7 days.")
    standby_proof: Seconds = Field(
        "10m", validate_default=True, description="The most a warm standby's proof may be old."
    )
    witnesses: dict[Name, Witness] = {}
    reference_hosts: tuple[str, ...] = Field(
        REFERENCE_HOSTS,
        description="host:port beyond this network; when none answers, drkit is blind.",
    )
