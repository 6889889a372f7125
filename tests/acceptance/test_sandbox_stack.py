"""The sandbox's own life: up, used, broken, down, with nothing left over and nothing touched."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from drkit.config.load import load_config
from drkit.config.models import Config
from drkit.standins.supervisor import Sandbox

pytest.importorskip("qdrant_edge", reason="the engine comes with drkit[qdrant]")

SHIPPED = Path(__file__).parents[2] / "schedules.yaml"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "sandbox"


@pytest.fixture
def sandbox(root: Path) -> Iterator[Sandbox]:
    made = Sandbox(load_config(SHIPPED), root)
    yield made
    made.down()


def processes_below(root: Path) -> list[str]:
    """Command lines of living processes that name the sandbox's folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if str(root) in words:
                found.append(words)
    return found


def chat(url: str, **headers: str) -> httpx.Response:
    body = {"model": "Qwen3-4B", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 4}
    return httpx.post(f"{url}/v1/chat/completions", json=body, headers=headers, timeout=20)


def states(sandbox: Sandbox) -> dict[str, str]:
    return {str(row["name"]): str(row["state"]) for row in sandbox.status()}


def test_it_comes_up_is_broken_and_goes_down_whole(sandbox: Sandbox, root: Path) -> None:
    sandbox.up()
    running = states(sandbox)
    assert set(running.values()) == {"running"}
    assert {"dns", "gateway", "drill-gateway", "external", "lambda", "qdrant"} <= set(running)
    gateway = f"http://127.0.0.1:{sandbox.ports.gateway}"
    assert chat(gateway).headers["x-instance"] == "lambda"
    pids = {row["name"]: row["pid"] for row in sandbox.status()}

    sandbox.up()
    assert {row["name"]: row["pid"] for row in sandbox.status()} == pids

    sandbox.kill("lambda")
    answer = chat(gateway)
    assert answer.status_code == 200
    assert answer.json()["model"] == "claude-sonnet-4-5"
    assert chat(gateway, **{"x-no-fallback": "1"}).status_code == 502
    sandbox.up()
    assert states(sandbox)["lambda"] == "dead", "what was killed must not come back by itself"

    sandbox.kill("qdrant-cloud")
    assert states(sandbox)["qdrant"] == "dead"

    sandbox.down()
    assert processes_below(root) == []
    assert not sandbox.is_up()
    assert (root / "restic-password").stat().st_mode & 0o777 == 0o600
    sandbox.up()
    assert set(states(sandbox).values()) == {"running"}, "after down everything is whole again"


def test_a_drill_has_a_primary_and_names_of_its_own(sandbox: Sandbox) -> None:
    sandbox.up()
    endpoint = sandbox.start_drill_primary()
    drill = f"http://127.0.0.1:{sandbox.ports.drill_gateway}"
    assert chat(drill).headers["x-instance"] == "drill-primary"
    sandbox.kill_drill_primary()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{endpoint.url}/health")
    production = f"http://127.0.0.1:{sandbox.ports.gateway}"
    assert chat(production).headers["x-instance"] == "lambda"
    assert sandbox.start_drill_primary() == endpoint, "the next drill has one again"


def test_another_server_on_our_port_makes_it_move(sandbox: Sandbox) -> None:
    before = sandbox.ports
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", before.gateway))
        stranger.listen()
        sandbox.up()
        assert sandbox.ports != before
        assert set(states(sandbox).values()) == {"running"}


def test_the_users_own_tree_is_linked_and_survives_a_reset(
    sandbox: Sandbox, root: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "note.md").write_text("mine\n")
    sandbox.prepare()
    assert len(list((root / "sources" / "sncp").rglob("*.md"))) > 1000
    sandbox.prepare(mine)
    assert (root / "sources" / "sncp").resolve() == mine
    sandbox.reset()
    assert not root.exists()
    assert (mine / "note.md").read_text() == "mine\n"
    assert [path.name for path in mine.iterdir()] == ["note.md"]


def test_private_weights_are_a_model_and_never_what_data_stands_for(
    root: Path, tmp_path: Path
) -> None:
    ours = {"kind": "weights", "mode": "repository", "path": "/nowhere/ours"}
    config = Config.model_validate(
        {
            "drkit": 1,
            "stores": {"disk": {"kind": "folder", "path": "/data", "role": "primary"}},
            "repository": {"password": "env:P"},
            "sources": {"ours": ours, "notes": {"kind": "tree", "path": "/nowhere/notes"}},
        }
    )
    (tmp_path / "mine").mkdir()
    Sandbox(config, root).prepare(tmp_path / "mine")
    assert (root / "sources" / "notes").resolve() == (tmp_path / "mine").resolve()
    assert list((root / "sources" / "ours").glob("*.safetensors"))


def test_one_store_and_one_source_need_no_server(root: Path) -> None:
    config = Config.model_validate(
        {
            "drkit": 1,
            "stores": {"disk": {"kind": "folder", "path": "/data", "role": "primary"}},
            "repository": {"password": "env:P"},
            "sources": {"notes": {"kind": "tree", "path": "/nowhere/notes"}},
        }
    )
    sandbox = Sandbox(config, root)
    sandbox.up()
    assert sandbox.status() == []
    assert any((root / "sources" / "notes").iterdir())
    sandbox.down()
