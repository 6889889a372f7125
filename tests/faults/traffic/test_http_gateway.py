"""Gateways that lie, hang, refuse, or stop half-way: what they show afterwards is what counts."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from drkit.compute.interface import Endpoint
from drkit.config.places import GatewayRead, HttpGatewaySwitch
from drkit.coordination.interface import LeaseLost
from drkit.errors import GuardRefused
from drkit.io_policy import Deadline
from drkit.secrets.interface import Secret
from drkit.traffic import http_gateway
from drkit.traffic.http_gateway import HttpGateway
from drkit.traffic.interface import (
    Setting,
    SwitchFailed,
    SwitchMoved,
    SwitchUnknown,
    ToExternal,
    ToSite,
)

TARGET = ToSite("coreweave", Endpoint("http", "192.0.2.1", 33526, stable=False))
OLD = "http://192.0.2.9:8000"


class Gateway:
    """`calls` are those that were made; the flags are what is wrong with it."""

    def __init__(self) -> None:
        self.enabled: object = False
        self.url: object = OLD
        self.calls: list[str] = []
        self.status = 200
        self.call_status = 0
        self.deaf: set[str] = set()
        self.drop: set[str] = set()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(handler.path)
        if handler.command == "POST":
            self.calls.append(handler.path)
            if parts.path not in self.deaf:
                self.set(parts.path, parse_qs(parts.query))
            if parts.path in self.drop:
                handler.connection.close()
                return
        body = json.dumps({"tiers": {"1": {"enabled": self.enabled, "url": self.url}}}).encode()
        handler.send_response((handler.command == "POST" and self.call_status) or self.status)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def set(self, path: str, query: dict[str, list[str]]) -> None:
        match path:
            case "/api/admin/emergency-rollback":
                self.enabled = False
            case "/api/admin/toggle-tier":
                self.enabled = query["enabled"] == ["true"]
            case "/api/admin/upstream":
                self.url = query["url"][0] + "/"


@contextmanager
def serving(gateway: Gateway) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            gateway.answer(self)

        def do_POST(self) -> None:
            gateway.answer(self)

        def log_message(self, *_: object) -> None:
            """A test's server says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


@pytest.fixture
def switch(gateway: Gateway) -> Iterator[HttpGateway]:
    with serving(gateway) as url:
        yield opened(url)


def opened(url: str, **changes) -> HttpGateway:
    preset = HttpGatewaySwitch(
        kind="http",
        url=url,
        route={"path": "/api/admin/upstream", "params": {"url": "{url}"}},
        read={"upstream": "tiers.1.url"},
    )
    settings = {name: getattr(preset, name) for name in ("url", "hold", "resume", "route", "read")}
    return HttpGateway("gateway", **{**settings, "token": Secret("planted-token"), **changes})


def test_the_address_is_set_before_the_tier_is_on_again(switch, gateway) -> None:
    switch.apply(switch.plan(switch.read(), TARGET))
    assert gateway.calls == [
        "/api/admin/upstream?url=http%3A%2F%2F192.0.2.1%3A33526",
        "/api/admin/toggle-tier?tier=1&enabled=true",
    ]
    assert switch.read() == Setting(held=False, value="http://192.0.2.1:33526")


@pytest.mark.parametrize("deaf", ["/api/admin/upstream", "/api/admin/toggle-tier"])
def test_R5_a_gateway_that_says_yes_and_shows_nothing_of_it_may_still_follow(
    switch, gateway, deaf
) -> None:
    gateway.deaf = {deaf}
    with pytest.raises(SwitchUnknown, match="and shows"):
        switch.apply(switch.plan(switch.read(), TARGET))


@pytest.mark.parametrize("answer", ["yes", "none"])
def test_R8_a_tier_is_not_turned_on_while_it_would_lead_to_the_old_address(
    switch, gateway, answer
) -> None:
    gateway.deaf = {"/api/admin/upstream"}
    gateway.drop = gateway.deaf if answer == "none" else set()
    with pytest.raises(SwitchUnknown):
        switch.apply(switch.plan(switch.read(), TARGET))
    assert not [call for call in gateway.calls if "toggle-tier" in call]
    assert gateway.enabled is False


def test_a_plan_that_stopped_half_way_is_gone_on_with(switch, gateway) -> None:
    gateway.deaf = {"/api/admin/toggle-tier"}
    plan = switch.plan(switch.read(), TARGET)
    with pytest.raises(SwitchFailed):
        switch.apply(plan)
    gateway.deaf = set()
    switch.apply(plan)
    assert switch.read() == plan.after


def test_a_call_whose_answer_was_lost_is_judged_by_what_is_shown(switch, gateway) -> None:
    gateway.drop = {"/api/admin/toggle-tier"}
    plan = switch.plan(switch.read(), TARGET)
    switch.apply(plan)
    assert len([call for call in gateway.calls if "toggle" in call]) == 1
    gateway.deaf = gateway.drop = {"/api/admin/emergency-rollback"}
    with pytest.raises(SwitchUnknown):
        switch.apply(switch.plan(switch.read(), ToExternal()))


def test_R5_a_call_that_ends_in_a_server_error_may_have_been_taken(switch, gateway) -> None:
    plan = switch.plan(switch.read(), TARGET)
    gateway.call_status = 504
    switch.apply(plan)
    assert switch.read() == plan.after
    gateway.deaf = {"/api/admin/emergency-rollback"}
    with pytest.raises(SwitchUnknown, match="504"):
        switch.apply(switch.plan(switch.read(), ToExternal()))


def test_a_call_that_is_refused_is_known_to_have_changed_nothing(switch, gateway) -> None:
    plan = switch.plan(switch.read(), TARGET)
    gateway.call_status, gateway.deaf = 403, {"/api/admin/upstream"}
    with pytest.raises(SwitchFailed) as caught:
        switch.apply(plan)
    assert not isinstance(caught.value, SwitchUnknown)


def test_a_gateway_that_was_moved_is_left_alone(switch, gateway) -> None:
    plan = switch.plan(switch.read(), TARGET)
    gateway.url = "http://192.0.2.77:8000"
    with pytest.raises(SwitchMoved):
        switch.apply(plan)
    assert gateway.calls == []


@pytest.mark.parametrize("status", [302, 401, 403, 404, 500])
def test_a_refusal_says_so_and_never_shows_the_token(switch, gateway, status) -> None:
    plan = switch.plan(switch.read(), TARGET)
    gateway.status = status
    with pytest.raises(SwitchFailed) as caught:
        switch.apply(plan)
    assert str(status) in caught.value.message
    assert ("token" in caught.value.message) == (status in (401, 403))
    assert "planted-token" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize("enabled", [None, "false", 0, {}])
def test_what_is_neither_true_nor_false_is_never_read_as_off(switch, gateway, enabled) -> None:
    gateway.enabled = enabled
    with pytest.raises(SwitchFailed, match="no true or false"):
        switch.read()


def test_a_gateway_that_hangs_fails_within_its_deadline(monkeypatch) -> None:
    import socket

    monkeypatch.setattr(http_gateway, "ADMIN_CALL", Deadline(connect_s=0.2, total_s=0.2))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        switch = opened(f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(SwitchFailed, match="in time"):
            switch.read()


def test_an_upstream_that_could_not_be_read_back_is_refused(switch) -> None:
    blind = opened(switch.record, read=GatewayRead())
    assert blind.refusal(TARGET)
    with pytest.raises(GuardRefused):
        blind.plan(blind.read(), TARGET)
    assert blind.refusal(ToExternal()) is None


def test_R5_what_may_not_be_sent_after_the_first_of_two_calls_is_not_sent(switch, gateway) -> None:
    asked: list[int] = []

    def once() -> None:
        asked.append(len(gateway.calls))
        if len(asked) > 1:
            raise LeaseLost("another one acts", hint="look")

    with pytest.raises(LeaseLost):
        switch.apply(switch.plan(switch.read(), TARGET), once)
    assert asked == [0, 1]
    assert len(gateway.calls) == 1


def test_a_gateway_that_follows_a_name_is_only_held_and_resumed(switch, gateway) -> None:
    follows = opened(switch.record, route=None, read=GatewayRead())
    follows.apply(follows.plan(follows.read(), TARGET))
    assert gateway.calls == ["/api/admin/toggle-tier?tier=1&enabled=true"]
    assert gateway.url == OLD
