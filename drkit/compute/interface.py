"""GPUs from providers: what is offered, one created, found again by its tags, destroyed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Protocol

from drkit.config.places import Candidate
from drkit.errors import PlaceError
from drkit.events import Note

Still = Callable[[], None]
"""Called directly before a request that changes something is sent. Raises where it may not be sent
any more, whatever went by since it was decided: a look, a connection, a suspend (R5, T2).
"""


def at_will() -> None:
    """`Still` of who acts alone: it may always be sent."""


class Fault(Enum):
    """What a provider's refusal means, whatever words it used."""

    OUT_OF_CAPACITY = "out of capacity"
    QUOTA = "quota"
    AUTH = "authentication"
    BALANCE = "balance"
    INVALID = "invalid request"
    RATE_LIMITED = "rate limited"
    TRANSIENT = "transient"
    NOT_FOUND = "not found"


class ComputeError(PlaceError):
    """A provider refused or failed; `fault` says what that means for the next step."""

    def __init__(self, message: str, *, fault: Fault, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.fault = fault


class EffectUnknown(PlaceError):
    """A create call did not return; look by tags before anything else is done (R5)."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a server answers. `stable`: the port was chosen, so that DNS alone can carry it."""

    scheme: str
    host: str
    port: int
    stable: bool = True
    host_header: str | None = None

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Offer:
    """A GPU that a provider says it can give now."""

    gpu: str
    region: str | None
    usd_per_hour: float
    quantization: str | None = None


@dataclass(frozen=True, slots=True)
class LaunchSpec:
    """What is to run: the bootstrap takes its ticket from `ticket_path`, then the server starts.

    `environment` is visible to the provider: at most one expiring ticket's key for plain weights
    may be in it (K4).
    """

    model: str
    image: str
    args: tuple[str, ...]
    port: int
    ticket_path: str
    environment: Mapping[str, str]


class InstanceState(Enum):
    STARTING = "starting"
    RUNNING = "running"
    FAILED = "failed"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Instance:
    """A machine that is paid for. `model_dir`: where its weights lie, if we can read them."""

    id: str
    tags: Mapping[str, str]
    state: InstanceState
    endpoint: Endpoint | None
    created_at: datetime
    offer: Offer
    model_dir: Path | None = None
    detail: str = ""


class Compute(Protocol):
    """One provider account or host. Tags identify what drkit made; names are never guessed."""

    def preflight(self) -> Sequence[Note]:
        """What would stop a create now: reach, credentials, quota, network. Costs nothing."""
        ...

    def offers(self, candidates: Sequence[Candidate]) -> Sequence[Offer]:
        """Offers within each candidate's price cap, in the order of the candidates."""
        ...

    def find(self, tags: Mapping[str, str]) -> Sequence[Instance]:
        """Instances that carry all of `tags` and are not GONE, oldest first."""
        ...

    def create(
        self, offer: Offer, spec: LaunchSpec, tags: Mapping[str, str], still: Still = at_will
    ) -> Instance:
        """Asks for one instance, once `still` has returned. Never retried here: raises
        `EffectUnknown` when the call did not return, `ComputeError` when it was refused and nothing
        exists.
        """
        ...

    def get(self, instance_id: str) -> Instance:
        """The instance as it is now; one that no longer exists has state GONE."""
        ...

    def destroy(self, instance_id: str, still: Still = at_will) -> None:
        """Ends the instance, once `still` has returned, and waits until it is GONE; one that is
        GONE is no error.
        """
        ...
