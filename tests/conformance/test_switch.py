"""The contract of drkit.traffic.interface.Switch, made executable. To add a switch: one `Join`."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from listening import running_standin

from drkit.compute.interface import Endpoint
from drkit.config.places import HttpGatewaySwitch
from drkit.coordination.interface import LeaseLost
from drkit.errors import GuardRefused
from drkit.secrets.interface import Secret
from drkit.traffic.http_gateway import HttpGateway
from drkit.traffic.interface import (
    Destination,
    Setting,
    Switch,
    SwitchFailed,
    SwitchMoved,
    SwitchPlan,
    ToExternal,
    ToSite,
)
from drkit.traffic.memory import MemorySwitch
from drkit.traffic.rfc2136 import Key, Rfc2136Record

PROJECT = Path(__file__).resolve().parents[2]
SECRET = "c2VjcmV0IGtleSBvZiB0aGUgdGVzdHMgb25seSAhISE="


def site(last: int = 1, *, port: int = 8000, stable: bool = True) -> ToSite:
    return ToSite("coreweave", Endpoint("http", f"192.0.2.{last}", port, stable=stable))


@dataclass
class Join:
    """`open` yields a switch that is unset, and a way to make its place unreachable."""

    open: Callable[[Path], object]
    external: bool
    random_ports: bool


@contextmanager
def memory(_folder: Path) -> Iterator[tuple[Switch, Callable[[], object]]]:
    switch = MemorySwitch()
    yield switch, lambda: setattr(switch, "down", True)


def record(port: int, *, name: str = "llm.example.org", secret: str = SECRET) -> Rfc2136Record:
    return Rfc2136Record(
        "dns",
        zone="example.org",
        record=name,
        ttl_s=5,
        server="127.0.0.1",
        port=port,
        key=Key("drkit", Secret(secret)),
    )


@contextmanager
def dns_standin(folder: Path) -> Iterator[tuple[Switch, Callable[[], object]]]:
    (folder / "key").write_text(SECRET)
    options = ["--data", str(folder), "--zone", "example.org"]
    options += ["--key-name", "drkit", "--key-file", str(folder / "key")]
    with running_standin("dns", folder, *options) as server:
        yield record(server.port), server.stop


def gateway(port: int, **changes) -> HttpGateway:
    preset = HttpGatewaySwitch(
        kind="http",
        url=f"http://127.0.0.1:{port}",
        route={"path": "/api/admin/upstream", "params": {"url": "{url}"}},
        read={"upstream": "tiers.1.url"},
    )
    settings = {
        "url": preset.url,
        "token": Secret("admin"),
        "hold": preset.hold,
        "resume": preset.resume,
        "route": preset.route,
        "read": preset.read,
    }
    return HttpGateway("gateway", **{**settings, **changes})


@contextmanager
def gateway_standin(folder: Path) -> Iterator[tuple[Switch, Callable[[], object]]]:
    (folder / "token").write_text("admin")
    options = ["--data", str(folder), "--external", "http://127.0.0.1:9"]
    options += ["--admin-token-file", str(folder / "token")]
    with running_standin("gateway", folder, *options) as server:
        yield gateway(server.port), server.stop


JOIN = {
    "memory": Join(memory, external=True, random_ports=True),
    "http": Join(gateway_standin, external=True, random_ports=True),
    "rfc2136": Join(dns_standin, external=False, random_ports=False),
}


@pytest.fixture(params=JOIN, ids=list(JOIN))
def join(request: pytest.FixtureRequest) -> Join:
    return JOIN[request.param]


@pytest.fixture
def opened(join: Join, tmp_path: Path) -> Iterator[tuple[Switch, Callable[[], object]]]:
    with join.open(tmp_path) as opened:
        yield opened


@pytest.fixture
def switch(opened) -> Switch:
    return opened[0]


def go(switch: Switch, destination: Destination) -> SwitchPlan:
    plan = switch.plan(switch.read(), destination)
    switch.apply(plan)
    return plan


def test_a_plan_changes_nothing_and_says_what_it_would_change(switch: Switch) -> None:
    before = switch.read()
    plan = switch.plan(before, site())
    assert plan.changes
    assert plan.before == before
    assert "192.0.2.1" in str(plan.after.value)
    assert (plan.switch, plan.record) == (switch.name, switch.record)
    assert switch.read() == before


def test_what_was_applied_is_read_back(switch: Switch) -> None:
    for last in (1, 2, 1):
        plan = go(switch, site(last))
        assert switch.read() == plan.after
    assert not switch.plan(switch.read(), site(1)).changes


def test_applying_a_plan_twice_is_done_once(switch: Switch) -> None:
    plan = go(switch, site())
    switch.apply(plan)
    assert switch.read() == plan.after


def test_R5_what_may_not_be_sent_any_more_after_the_look_is_not_sent(switch: Switch) -> None:
    def too_late() -> None:
        raise LeaseLost("another one acts", hint="look")

    plan = switch.plan(switch.read(), site())
    with pytest.raises(LeaseLost):
        switch.apply(plan, too_late)
    assert switch.read() == plan.before
    asked: list[str] = []
    switch.apply(plan, lambda: asked.append("still"))
    assert switch.read() == plan.after
    done = len(asked)
    assert done >= 1
    switch.apply(plan, lambda: asked.append("still"))  # nothing has to be sent
    assert len(asked) == done


def test_a_switch_that_moved_since_the_plan_is_left_as_it_is(switch: Switch) -> None:
    go(switch, site(1))
    stale = switch.plan(switch.read(), site(2))
    go(switch, site(3))
    after_the_other = switch.read()
    with pytest.raises(SwitchMoved):
        switch.apply(stale)
    assert switch.read() == after_the_other


def test_a_plan_from_unset_does_not_overwrite_what_was_set_meanwhile(switch: Switch) -> None:
    stale = switch.plan(switch.read(), site(2))
    go(switch, site(3))
    with pytest.raises(SwitchMoved):
        switch.apply(stale)
    assert switch.read().value == switch.plan(switch.read(), site(3)).after.value


def test_a_plan_of_another_switch_is_refused(switch: Switch) -> None:
    plan = switch.plan(switch.read(), site())
    for name, where in (("other", plan.record), (plan.switch, "other.example.org")):
        with pytest.raises(GuardRefused):
            switch.apply(SwitchPlan(name, where, plan.before, plan.after))
    assert switch.read() == plan.before


def test_the_external_api_is_carried_there_and_back_or_refused(switch: Switch, join: Join) -> None:
    go(switch, site())
    served = switch.read()
    if not join.external:
        assert switch.refusal(ToExternal())
        with pytest.raises(GuardRefused):
            switch.plan(served, ToExternal())
        assert switch.read() == served
        return
    assert switch.refusal(ToExternal()) is None
    go(switch, ToExternal())
    assert switch.read().held
    go(switch, site(2))
    assert switch.read() == switch.plan(switch.read(), site(2)).after
    assert not switch.read().held


def test_a_port_that_was_not_chosen_is_carried_or_refused(switch: Switch, join: Join) -> None:
    moved = site(1, port=33526, stable=False)
    if join.random_ports:
        assert switch.refusal(moved) is None
        go(switch, moved)
        assert "33526" in str(switch.read().value)
        return
    assert "33526" in str(switch.refusal(moved))
    with pytest.raises(GuardRefused):
        switch.plan(switch.read(), moved)
    assert switch.read() == Setting(held=False, value=None)


def test_of_two_plans_from_one_reading_only_one_is_applied(switch: Switch, join: Join) -> None:
    """With compare-and-set at once from two threads; a gateway has none: one after the other."""
    before = switch.read()
    plans = [switch.plan(before, site(last)) for last in (1, 2, 3, 4)]
    barrier = threading.Barrier(len(plans) if not join.external else 1)
    outcomes: list[object] = []

    def apply(plan: SwitchPlan) -> None:
        barrier.wait()
        try:
            switch.apply(plan)
            outcomes.append(plan.after)
        except SwitchMoved:
            outcomes.append(None)

    threads = [threading.Thread(target=apply, args=(plan,)) for plan in plans]
    for thread in threads:
        thread.start()
        if join.external:
            thread.join()
    for thread in threads:
        thread.join()
    assert len(outcomes) == len(plans)
    assert [each for each in outcomes if each] == [switch.read()]


def test_an_unreachable_switch_fails_and_is_never_taken_as_unset(opened) -> None:
    switch, make_unreachable = opened
    plan = switch.plan(switch.read(), site())
    make_unreachable()
    with pytest.raises(SwitchFailed):
        switch.read()
    with pytest.raises(SwitchFailed):
        switch.apply(plan)
