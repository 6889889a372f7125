"""Which provider kinds this version can open, and the credentials that each one needs."""

from __future__ import annotations

from collections.abc import Callable

from drkit.clock import Clock
from drkit.compute.interface import Compute
from drkit.config.places import LocalProvider, ProviderConfig
from drkit.errors import NotInThisVersion
from drkit.secrets.interface import Secrets


def open_compute(provider: ProviderConfig, secrets: Secrets, *, clock: Clock) -> Compute:
    """The provider, ready to be asked.

    Raises `MissingCredential` first, and then `NotInThisVersion` for a kind without an adapter.
    """
    for field in CREDENTIALS[provider.kind]:
        secrets.resolve(getattr(provider, field))
    for kind, opener in OPENERS.items():
        if isinstance(provider, kind):
            return opener(provider, clock)
    raise NotInThisVersion(
        f"compute provider {provider.kind}",
        hint="--sandbox rehearses this target on this machine; `local` runs real processes",
    )


def _local(provider: LocalProvider, clock: Clock) -> Compute:
    from drkit.compute.local import LocalCompute

    return LocalCompute(provider, clock=clock)


OPENERS: dict[type[LocalProvider], Callable[[LocalProvider, Clock], Compute]] = {
    LocalProvider: _local,
}

CREDENTIALS: dict[str, tuple[str, ...]] = {
    "lambda": ("api_key",),
    "kubernetes": ("kubeconfig",),
    "runpod": ("api_key",),
    "vast": ("api_key",),
    "ssh": ("identity",),
    "command": (),
    "local": (),
}
