"""The gateway stand-in falls back as a real one does, and a careless check does not notice."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest

from drkit.verify.model import ask_gateway

Server = Any  # what the fixture `start` gives: .url, .port, .stop()
Start = Any
OWN, EXTERNAL = "Qwen3-4B", "claude-sonnet-4-5"
CHAT = {"model": OWN, "messages": [{"role": "user", "content": "Are you there?"}]}


@pytest.fixture
def upstream(start: Start) -> Server:
    """Another external API plays the own GPU: here it matters only that it names itself."""
    return start("external", "--model", OWN)


@pytest.fixture
def external(start: Start) -> Server:
    return start("external", "--model", EXTERNAL)


def run(start: Start, folder: Path, external: Server, *more: object, **how: Any) -> Server:
    return start("gateway", "--data", folder, "--external", external.url, *more, **how)


@pytest.fixture
def gateway(start: Start, tmp_path: Path, upstream: Server, external: Server) -> Server:
    return run(start, tmp_path / "gateway", external, "--upstream", upstream.url)


def chat(gateway: Server, **headers: str) -> httpx.Response:
    url = f"{gateway.url}/v1/chat/completions"
    return httpx.post(url, json=CHAT, headers=headers, timeout=20)


def admin(gateway: Server, call: str, **headers: str) -> httpx.Response:
    return httpx.post(f"{gateway.url}/api/admin/{call}", headers=headers, timeout=10)


def tier(gateway: Server) -> dict[str, Any]:
    return httpx.get(f"{gateway.url}/api/admin/config").json()["tiers"]["1"]


def test_users_are_served_by_the_own_tier(gateway: Server) -> None:
    answer = chat(gateway)
    assert answer.json()["model"] == OWN
    assert answer.headers["x-gateway-tier"] == "1"


def test_a_naive_check_passes_although_the_own_tier_is_dead(
    gateway: Server, upstream: Server
) -> None:
    upstream.stop(signal.SIGKILL)
    answer = chat(gateway)
    assert answer.status_code == 200
    assert answer.json()["choices"][0]["message"]["content"]
    assert answer.json()["model"] == EXTERNAL
    stats = httpx.get(f"{gateway.url}/api/admin/stats").json()
    assert stats == {
        "requests": 1,
        "by_tier": {"1": 0, "2": 1},
        "fallbacks": 1,
        "failures": 0,
        "confidence": 0.9,
    }


def test_H5_drkits_check_believes_neither_a_fallback_nor_a_gateway_that_knows_no_such_header(
    gateway: Server, upstream: Server, external: Server
) -> None:
    assert ask_gateway(gateway.url, OWN, None) == OWN
    upstream.stop(signal.SIGKILL)
    assert ask_gateway(gateway.url, OWN, None) is None
    assert ask_gateway(external.url, OWN, None) == EXTERNAL, "it answers, and names who answered"


def test_without_fallback_a_dead_tier_is_an_error(gateway: Server, upstream: Server) -> None:
    upstream.stop(signal.SIGKILL)
    assert chat(gateway, **{"x-no-fallback": "1"}).status_code == 502
    admin(gateway, "emergency-rollback")
    assert chat(gateway, **{"x-no-fallback": "1"}).status_code == 503


def test_rollback_moves_users_and_toggle_brings_them_back(gateway: Server) -> None:
    assert admin(gateway, "emergency-rollback").json()["tiers"]["1"]["enabled"] is False
    assert tier(gateway)["enabled"] is False
    assert chat(gateway).json()["model"] == EXTERNAL
    admin(gateway, "toggle-tier?tier=1&enabled=true")
    assert tier(gateway)["enabled"] is True
    assert chat(gateway).json()["model"] == OWN


def test_where_the_own_tier_leads_survives_kill_9(
    start: Start, tmp_path: Path, gateway: Server, external: Server
) -> None:
    admin(gateway, "emergency-rollback")
    admin(gateway, "upstream?url=http://127.0.0.9:8000")
    gateway.stop(signal.SIGKILL)
    again = run(start, tmp_path / "gateway", external, port=gateway.port)
    assert tier(again) == {"enabled": False, "url": "http://127.0.0.9:8000"}


@pytest.mark.parametrize(
    "call", ["toggle-tier", "toggle-tier?tier=7&enabled=true", "upstream", "upstream?url=file:///x"]
)
def test_a_senseless_admin_call_changes_nothing(gateway: Server, call: str) -> None:
    before = tier(gateway)
    assert admin(gateway, call).status_code == 400
    assert tier(gateway) == before


def test_admin_calls_need_the_token_and_users_do_not(
    start: Start, tmp_path: Path, external: Server
) -> None:
    token = tmp_path / "token"
    token.write_text("open-sesame\n")
    gateway = run(start, tmp_path / "gateway", external, "--admin-token-file", token)
    assert admin(gateway, "emergency-rollback").status_code == 401
    assert httpx.get(f"{gateway.url}/api/admin/config").status_code == 401
    bearer = {"authorization": "Bearer open-sesame"}
    assert admin(gateway, "emergency-rollback", **bearer).status_code == 200
    assert chat(gateway).json()["model"] == EXTERNAL


def test_a_stream_comes_through(gateway: Server) -> None:
    url = f"{gateway.url}/v1/chat/completions"
    with httpx.stream("POST", url, json=CHAT | {"stream": True}, timeout=20) as answer:
        lines = [line for line in answer.iter_lines() if line]
    assert lines[-1] == "data: [DONE]"
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]
    assert {chunk["model"] for chunk in chunks} == {OWN}
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"


def test_with_both_tiers_dead_users_get_the_503_page(
    gateway: Server, upstream: Server, external: Server
) -> None:
    upstream.stop(signal.SIGKILL)
    external.stop(signal.SIGKILL)
    answer = chat(gateway)
    assert answer.status_code == 503
    assert answer.headers["retry-after"]


def test_it_ends_on_sigterm(gateway: Server, external: Server) -> None:
    chat(gateway)
    assert gateway.stop() in (0, -signal.SIGTERM)
    assert external.stop() in (0, -signal.SIGTERM)
