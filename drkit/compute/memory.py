"""A provider in memory that passes the conformance suite and fails as real ones do when told to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from drkit.clock import Clock, ManualClock
from drkit.compute.interface import (
    ComputeError,
    EffectUnknown,
    Endpoint,
    Fault,
    Instance,
    InstanceState,
    LaunchSpec,
    Offer,
    Still,
    at_will,
)
from drkit.config.places import Candidate
from drkit.events import Note


class MemoryCompute:
    """Instances in a dict.

    `usd_per_hour`: prices by GPU (default: the candidate's own cap). `sold_out`: GPUs that are
    offered and then refused, as marketplaces do. `faults`: what the next creates are refused
    with. `lose_answers`: so many creates take effect and then never return. `listing_lag`: so
    many `find` calls pass before a new instance is listed.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or ManualClock()
        self._instances: dict[str, Instance] = {}
        self._hidden: dict[str, int] = {}
        self.usd_per_hour: dict[str, float] = {}
        self.sold_out: set[str] = set()
        self.faults: list[Fault] = []
        self.lose_answers = 0
        self.listing_lag = 0
        self.created: list[LaunchSpec] = []

    def preflight(self) -> Sequence[Note]:
        return [
            Note("error", "compute", f"the next create is refused: {fault.value}")
            for fault in self.faults[:1]
        ]

    def offers(self, candidates: Sequence[Candidate]) -> Sequence[Offer]:
        found = []
        for candidate in candidates:
            price = self.usd_per_hour.get(candidate.gpu, candidate.max_usd_per_hour)
            if price <= candidate.max_usd_per_hour:
                found.append(Offer(candidate.gpu, candidate.region, price, candidate.quantization))
        return found

    def find(self, tags: Mapping[str, str]) -> Sequence[Instance]:
        listed = []
        for instance in self._instances.values():
            if self._hidden.get(instance.id, 0) > 0:
                self._hidden[instance.id] -= 1
            elif instance.state is not InstanceState.GONE and tags.items() <= instance.tags.items():
                listed.append(instance)
        return sorted(listed, key=lambda instance: instance.created_at)

    def create(
        self, offer: Offer, spec: LaunchSpec, tags: Mapping[str, str], still: Still = at_will
    ) -> Instance:
        still()
        if self.faults:
            raise _refused(self.faults.pop(0))
        if offer.gpu in self.sold_out:
            raise _refused(Fault.OUT_OF_CAPACITY)
        number = len(self._instances) + 1
        instance = Instance(
            id=f"memory-{number}",
            tags=dict(tags),
            state=InstanceState.RUNNING,
            endpoint=Endpoint("http", f"192.0.2.{number}", spec.port),
            created_at=self._clock.now(),
            offer=offer,
        )
        self._instances[instance.id] = instance
        self._hidden[instance.id] = self.listing_lag
        self.created.append(spec)
        if self.lose_answers:
            self.lose_answers -= 1
            raise EffectUnknown(
                "the create call did not return", hint="look by tags before asking again"
            )
        return instance

    def get(self, instance_id: str) -> Instance:
        try:
            return self._instances[instance_id]
        except KeyError:
            raise ComputeError(
                f"no instance {instance_id} was ever made here",
                fault=Fault.NOT_FOUND,
                hint="drkit runs show names the instances of a run",
            ) from None

    def destroy(self, instance_id: str, still: Still = at_will) -> None:
        if instance_id in self._instances:
            still()
            self.set_state(instance_id, InstanceState.GONE)

    def set_state(self, instance_id: str, state: InstanceState) -> None:
        """The instance dies, fails or vanishes behind drkit's back."""
        self._instances[instance_id] = replace(self._instances[instance_id], state=state)


def _refused(fault: Fault) -> ComputeError:
    return ComputeError(
        f"the provider refused: {fault.value}", fault=fault, hint="the next candidate may do"
    )
