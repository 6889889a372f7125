"""What moves traffic: a DNS record, a gateway. Read, plan (a pure diff), apply exactly the plan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from drkit.compute.interface import Endpoint, Still, at_will
from drkit.errors import GuardRefused, PlaceError


@dataclass(frozen=True, slots=True)
class ToSite:
    """Traffic goes to the server at `endpoint`, on `site`."""

    site: str
    endpoint: Endpoint


@dataclass(frozen=True, slots=True)
class ToExternal:
    """Traffic goes to the declared external API."""


Destination = ToSite | ToExternal


@dataclass(frozen=True, slots=True)
class Setting:
    """What a switch is set to now, as it was read back from it.

    `held`: users are on the external API. `value`: the address or URL it names (None: unset).
    """

    held: bool
    value: str | None


@dataclass(frozen=True, slots=True)
class SwitchPlan:
    """`switch` goes `before` -> `after`, at `record` (a name or URL). Applied whole or not."""

    switch: str
    record: str
    before: Setting
    after: Setting

    @property
    def changes(self) -> bool:
        return self.before != self.after


class SwitchMoved(GuardRefused):
    """The switch no longer stands where the plan was made from; nothing was changed."""


class SwitchFailed(PlaceError):
    """The switch could not be read or set, or does not show what it was set to."""


class SwitchUnknown(SwitchFailed):
    """It was told to change and gave no answer, or does not show it: it may still do so (R5)."""


Namespace = Literal["production", "drill"]


class Switch(Protocol):
    """One thing that moves traffic, in one namespace (production's names or the drill's)."""

    @property
    def name(self) -> str: ...

    @property
    def record(self) -> str:
        """The name or URL that is set, for people."""
        ...

    def refusal(self, destination: Destination) -> str | None:
        """Why this kind of switch cannot carry `destination` (a random port in an A record);
        None if it can. Pure.
        """
        ...

    def read(self) -> Setting:
        """What it is set to now, asked of the authority itself. Raises `SwitchFailed`."""
        ...

    def plan(self, before: Setting, destination: Destination) -> SwitchPlan:
        """The pure diff that brings it to `destination`."""
        ...

    def apply(self, plan: SwitchPlan, still: Still = at_will) -> None:
        """Applies exactly `plan` and reads it back. `still` MUST be called directly before each
        request that changes something, and what it raises ends this with nothing more sent.

        MUST raise `SwitchMoved`, changing nothing, when it no longer stands at `plan.before`; one
        that stands at `plan.after` is done. From the request on, whatever is no clear refusal and
        is not shown MUST raise `SwitchUnknown`.
        """
        ...
