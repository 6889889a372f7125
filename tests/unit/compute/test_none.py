"""No provider: nothing is offered, found, made or destroyed."""

import pytest

from drkit.compute.interface import ComputeError, Fault, LaunchSpec, Offer
from drkit.compute.none import NoCompute
from drkit.config.places import Candidate


def test_no_provider_has_nothing_and_makes_nothing() -> None:
    none = NoCompute()
    assert none.preflight() == ()
    assert none.offers([Candidate(gpu="L40", max_usd_per_hour=1)]) == ()
    assert none.find({}) == ()
    spec = LaunchSpec("m", "image", (), 8000, "", {})
    for act in (
        lambda: none.create(Offer("L40", None, 1.0), spec, {}),
        lambda: none.get("i-1"),
        lambda: none.destroy("i-1"),
    ):
        with pytest.raises(ComputeError) as caught:
            act()
        assert caught.value.fault is Fault.NOT_FOUND
