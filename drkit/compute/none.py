"""No provider: for runs that no machine takes part in. It offers nothing and holds nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from drkit.compute.interface import (
    ComputeError,
    Fault,
    Instance,
    LaunchSpec,
    Offer,
    Still,
    at_will,
)
from drkit.config.places import Candidate
from drkit.events import Note


class NoCompute:
    """Satisfies `Compute`. What was never made is found nowhere and cannot be asked for."""

    def preflight(self) -> Sequence[Note]:
        return ()

    def offers(self, candidates: Sequence[Candidate]) -> Sequence[Offer]:
        return ()

    def find(self, tags: Mapping[str, str]) -> Sequence[Instance]:
        return ()

    def create(
        self, offer: Offer, spec: LaunchSpec, tags: Mapping[str, str], still: Still = at_will
    ) -> Instance:
        raise _nothing(offer.gpu)

    def get(self, instance_id: str) -> Instance:
        raise _nothing(instance_id)

    def destroy(self, instance_id: str, still: Still = at_will) -> None:
        raise _nothing(instance_id)


def _nothing(what: str) -> ComputeError:
    return ComputeError(
        f"no provider takes part in this run, so there is no {what}",
        fault=Fault.NOT_FOUND,
        hint="name a target: --to",
    )
