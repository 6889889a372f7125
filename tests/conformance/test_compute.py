"""The contract of drkit.compute.interface.Compute, made executable. A provider is one `Join`."""

import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from drkit.clock import ManualClock
from drkit.compute.interface import (
    Compute,
    ComputeError,
    EffectUnknown,
    Fault,
    Instance,
    InstanceState,
    LaunchSpec,
)
from drkit.compute.local import LocalCompute
from drkit.compute.memory import MemoryCompute
from drkit.config.places import Candidate, LocalProvider
from drkit.coordination.interface import LeaseLost

BECOMES_THE_SERVER = (
    "import os, sys; rest = sys.argv[sys.argv.index('--') + 1:]; os.execv(rest[0], rest)"
)
SLEEPS = (sys.executable, "-S", "-c", "import time; time.sleep(600)", "{instance}", "{port}")
SPEC = LaunchSpec("m", "image", (), 8000, "ticket", {})
CANDIDATES = (
    Candidate(gpu="A40", region="r1", max_usd_per_hour=1.5),
    Candidate(gpu="H100", max_usd_per_hour=5.0, quantization="fp8"),
)


class LostAnswers(LocalCompute):
    """The call is cut off after the server was started."""

    def _start(self, *args) -> None:
        super()._start(*args)
        raise EffectUnknown("the create call did not return", hint="a test asked so")


def local(folder: Path, kind: type[LocalCompute] = LocalCompute, port: int | None = None):
    config = LocalProvider(
        kind="local", path=str(folder / "site"), host="127.0.0.1", port=port, argv=SLEEPS
    )
    bootstrap = (sys.executable, "-S", "-c", BECOMES_THE_SERVER)
    return kind(config, clock=ManualClock(), bootstrap=bootstrap)


def taken_port(folder: Path) -> LocalCompute:
    holder = socket.create_server(("127.0.0.1", 0))
    compute = local(folder, port=holder.getsockname()[1])
    compute.holder = holder
    return compute


def memory(**settings) -> MemoryCompute:
    compute = MemoryCompute()
    for name, value in settings.items():
        setattr(compute, name, value)
    return compute


@dataclass
class Join:
    """`open`: as it should be. `lost`: the next create's answer is lost. `full`: no capacity."""

    open: Callable[[Path], Compute]
    lost: Callable[[Path], Compute]
    full: Callable[[Path], Compute]


JOIN = {
    "memory": Join(
        open=lambda _: memory(listing_lag=2),
        lost=lambda _: memory(listing_lag=2, lose_answers=1),
        full=lambda _: memory(sold_out={"A40", "H100"}),
    ),
    "local": Join(
        open=local,
        lost=lambda folder: local(folder, LostAnswers),
        full=taken_port,
    ),
}


@pytest.fixture(params=JOIN, ids=list(JOIN))
def join(request: pytest.FixtureRequest) -> Join:
    return JOIN[request.param]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[[Callable[[Path], Compute]], Compute]]:
    computes: list[Compute] = []

    def open_(how: Callable[[Path], Compute]) -> Compute:
        computes.append(how(tmp_path))
        return computes[-1]

    yield open_
    for compute in computes:
        for instance in listed(compute, {}):
            compute.destroy(instance.id)


@pytest.fixture
def compute(join: Join, opened) -> Compute:
    return opened(join.open)


def listed(compute: Compute, tags: dict[str, str]) -> list[Instance]:
    """What is found once the listing has caught up."""
    return [list(compute.find(tags)) for _ in range(5)][-1]


def create(compute: Compute, **tags: str) -> Instance:
    return compute.create(compute.offers(CANDIDATES)[0], SPEC, tags)


def test_offers_come_in_the_order_of_the_candidates_and_within_their_caps(compute) -> None:
    offers = compute.offers(CANDIDATES)
    assert [(each.gpu, each.region, each.quantization) for each in offers] == [
        ("A40", "r1", None),
        ("H100", None, "fp8"),
    ]
    assert all(offer.usd_per_hour <= cap for offer, cap in zip(offers, (1.5, 5.0), strict=True))
    assert compute.offers(()) == []


def test_what_was_created_runs_and_is_found_by_its_tags(compute) -> None:
    made = create(compute, run="r-1", site="coreweave")
    assert made.state in (InstanceState.STARTING, InstanceState.RUNNING)
    assert made.endpoint is not None
    assert made.offer.gpu == "A40"
    assert compute.get(made.id).id == made.id
    assert [each.id for each in listed(compute, {"run": "r-1"})] == [made.id]
    assert listed(compute, {"run": "r-1"})[0].tags == {"run": "r-1", "site": "coreweave"}


def test_only_instances_with_all_the_tags_are_found(compute) -> None:
    made = create(compute, run="r-1", site="a")
    other = create(compute, run="r-2", site="a")
    assert listed(compute, {"run": "r-1", "site": "b"}) == []
    assert listed(compute, {"run": "r"}) == []
    assert listed(compute, {"absent": ""}) == []
    assert {each.id for each in listed(compute, {"site": "a"})} == {made.id, other.id}
    assert {each.id for each in listed(compute, {})} == {made.id, other.id}


def test_a_create_whose_answer_was_lost_is_found_again_by_its_tags(join, opened) -> None:
    compute = opened(join.lost)
    with pytest.raises(EffectUnknown):
        create(compute, run="r-1", step="acquire", attempt="1")
    found = listed(compute, {"run": "r-1", "step": "acquire", "attempt": "1"})
    assert len(found) == 1
    assert found[0].state in (InstanceState.STARTING, InstanceState.RUNNING)


def test_R5_what_may_not_be_sent_any_more_creates_and_destroys_nothing(compute) -> None:
    def too_late() -> None:
        raise LeaseLost("another one acts", hint="look")

    with pytest.raises(LeaseLost):
        compute.create(compute.offers(CANDIDATES)[0], SPEC, {"run": "r-1"}, too_late)
    assert listed(compute, {}) == []
    made = create(compute, run="r-1")
    with pytest.raises(LeaseLost):
        compute.destroy(made.id, too_late)
    assert compute.get(made.id).state is made.state


def test_without_capacity_nothing_exists_afterwards(join, opened) -> None:
    compute = opened(join.full)
    with pytest.raises(ComputeError) as caught:
        create(compute, run="r-1")
    assert caught.value.fault is Fault.OUT_OF_CAPACITY
    assert listed(compute, {}) == []


def test_what_was_destroyed_is_gone_and_found_no_more(compute) -> None:
    kept = create(compute, run="r-1")
    made = create(compute, run="r-1")
    listed(compute, {})
    compute.destroy(made.id)
    assert compute.get(made.id).state is InstanceState.GONE
    assert [each.id for each in listed(compute, {"run": "r-1"})] == [kept.id]
    assert compute.get(kept.id).state is InstanceState.RUNNING


def test_destroying_twice_is_no_error(compute) -> None:
    made = create(compute)
    compute.destroy(made.id)
    compute.destroy(made.id)
    assert compute.get(made.id).state is InstanceState.GONE


def test_an_id_that_no_provider_gave_out_is_not_found(compute) -> None:
    for hostile in ("../../etc", "/", "", "."):
        with pytest.raises(ComputeError) as caught:
            compute.get(hostile)
        assert caught.value.fault is Fault.NOT_FOUND


def test_preflight_costs_nothing_and_makes_nothing(compute) -> None:
    assert [note for note in compute.preflight() if note.level == "error"] == []
    assert listed(compute, {}) == []


def test_preflight_says_what_would_stop_a_create(tmp_path: Path) -> None:
    assert [note.level for note in memory(faults=[Fault.AUTH]).preflight()] == ["error"]
    compute = taken_port(tmp_path)
    assert any("in use" in note.text for note in compute.preflight())
