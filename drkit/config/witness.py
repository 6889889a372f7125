"""witness.yaml: what a witness on another host watches, and who may ask it."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from drkit.config.decide import REFERENCE_HOSTS
from drkit.config.fields import LocalPath, Name, Seconds, SecretRef, Strict, check_url
from drkit.config.places import Probe


class WitnessTls(Strict):
    """PEM files; the certificate's may hold the chain too."""

    certificate: LocalPath
    key: LocalPath


class WitnessTarget(Strict):
    """One service as this host reaches it, by address. `site` is its name at those who ask."""

    site: Name
    endpoint: Annotated[str, AfterValidator(check_url)]
    model: str
    api_key: SecretRef | None = None
    server: Literal["vllm", "sglang", "llama.cpp", "tgi"] | None = Field(
        None, description="What answers; default: what its metrics show that it is."
    )


def _check_listen(value: str) -> str:
    if not re.fullmatch(r"(\[[0-9a-fA-F:]+\]|[0-9.]+|localhost):[0-9]{1,5}", value):
        raise ValueError("write an address of this host and a port: 0.0.0.0:9443, [::]:9443")
    if int(value.rpartition(":")[2]) > 65535:
        raise ValueError("a port is at most 65535")
    return value


class WitnessConfig(Strict):
    """A witness knows what stands here and nothing else."""

    drkit: Literal[1] = Field(description="The version of this file's format.")
    listen: Annotated[str, AfterValidator(_check_listen)] = "127.0.0.1:9443"
    token: SecretRef
    tls: WitnessTls | None = Field(None, description="Needed unless it listens on loopback.")
    state: LocalPath = Field(".drkit-witness", description="Its signing key, and what it saw.")
    watches: dict[str, WitnessTarget] = Field(min_length=1, description="By service.")
    every: Seconds = Field("30s", validate_default=True)
    probe: Probe = Probe()
    reference_hosts: tuple[str, ...] = REFERENCE_HOSTS

    @property
    def host(self) -> str:
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        return int(self.listen.rpartition(":")[2])

    @model_validator(mode="after")
    def _token_is_not_shown(self) -> Self:
        loopback = self.host in ("localhost", "::1") or self.host.startswith("127.")
        if self.tls is None and not loopback:
            raise ValueError("`tls` is missing: beyond loopback the token would be readable")
        return self
