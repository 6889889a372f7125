"""A switch in memory that passes the conformance suite and can be told to fail."""

from __future__ import annotations

from drkit.compute.interface import Still, at_will
from drkit.traffic.apply import apply_plan
from drkit.traffic.interface import (
    Destination,
    Setting,
    SwitchFailed,
    SwitchPlan,
    SwitchUnknown,
    ToExternal,
    ToSite,
)


class MemorySwitch:
    """A setting in a variable.

    `down`: it neither reads nor sets. `deaf`: it accepts settings and keeps the old one. `mute`: of
    so many settings no answer comes, and they lie in `late` until `arrive`. `history` holds every
    setting it ever had, oldest first.
    """

    def __init__(
        self,
        name: str = "memory",
        record: str = "llm.example.org",
        *,
        carries_external: bool = True,
        setting: Setting | None = None,
    ) -> None:
        self._name = name
        self._record = record
        self._carries_external = carries_external
        self.history = [setting or Setting(held=False, value=None)]
        self.down = False
        self.deaf = False
        self.mute = 0
        self.late: list[Setting] = []

    @property
    def name(self) -> str:
        return self._name

    @property
    def record(self) -> str:
        return self._record

    def refusal(self, destination: Destination) -> str | None:
        if isinstance(destination, ToExternal) and not self._carries_external:
            return f"{self._name} cannot carry traffic to the external API"
        return None

    def read(self) -> Setting:
        if self.down:
            raise SwitchFailed(f"{self._name}: told to be down", hint="a test asked so")
        return self.history[-1]

    def plan(self, before: Setting, destination: Destination) -> SwitchPlan:
        match destination:
            case ToExternal():
                after = Setting(held=True, value=before.value)
            case ToSite(endpoint=endpoint):
                after = Setting(held=False, value=endpoint.url)
        return SwitchPlan(self._name, self._record, before, after)

    def apply(self, plan: SwitchPlan, still: Still = at_will) -> None:
        apply_plan(self, plan, self._set, still)

    def set_by_another(self, setting: Setting) -> None:
        """Somebody else moves it behind drkit's back."""
        self.history.append(setting)

    def arrive(self) -> None:
        """What got no answer takes effect now, as requests that were long on their way do."""
        self.history += self.late
        self.late.clear()

    def _set(self, plan: SwitchPlan, still: Still = at_will) -> None:
        still()
        if self.mute:
            self.mute -= 1
            self.late.append(plan.after)
            raise SwitchUnknown(f"{self._name}: gave no answer", hint="a test asked so")
        if not self.deaf:
            self.history.append(plan.after)
