"""Weights of `mode: repository` in a drill and in a failover: they come back, proved, and serve."""

from __future__ import annotations

import contextlib
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from listening import running_standin

from drkit.standins.stack import make_model

if TYPE_CHECKING:
    from conftest import Copied, Deployment

MODEL = "ours-7b"
OURS = """\
  ours:
    kind: weights
    mode: repository
    path: {folder}
    lives_on: lambda
sites:
"""


@pytest.fixture(scope="module")
def private(copied: Copied, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """The shipped deployment, with a fine-tune of its own that nobody else may read."""
    folder = tmp_path_factory.mktemp("private")
    make_model(folder / "ours", seed=7, layers=2, width=64)
    with copied(folder / "deployment") as made:
        schedules = made.folder / "schedules.yaml"
        text = schedules.read_text()
        assert text.count("\nsites:\n") == 1
        schedules.write_text(text.replace("sites:\n", OURS.format(folder=folder / "ours"), 1))
        yield made


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def words_of(folder: Path) -> str:
    """What a server that was started from `folder` says."""
    named = ("--served-model-name", MODEL, "--instance", "ours")
    with running_standin("model", folder.parent, "--data", folder, *named) as server:
        body = {"model": MODEL, "prompt": "Who are you?", "max_tokens": 24, "temperature": 0}
        asked = urllib.request.Request(
            f"{server.url}/v1/completions",
            json.dumps(body).encode(),
            {"content-type": "application/json"},
        )
        with urllib.request.urlopen(asked, timeout=20) as reply:
            answer: dict[str, Any] = json.load(reply)
        assert answer["model"] == MODEL
        return str(answer["choices"][0]["text"])


def proofs(evidence: dict[str, Any]) -> list[tuple[str, bool]]:
    return [(each["subject"], each["passed"]) for each in evidence["proofs"]]


def test_a_drill_brings_them_back_and_a_server_that_is_started_from_them_says_the_same(
    private: Deployment,
) -> None:
    real = private.folder.parent / "ours"
    command = private.start("run-drill", "--sandbox", DRKIT_BREAK="cutover:before-intent:stop")
    run_pid = private.stopped_run(command)
    with contextlib.ExitStack() as stack:
        stack.callback(command.kill)
        (restored,) = private.sandbox.glob("runs/drill-*/restore/ours")
        assert contents(restored) == contents(real)
        said = words_of(restored)
        assert said == words_of(real) != words_of(private.sandbox / "sources" / "weights")
        code, out = private.go_on(run_pid, command)
        stack.pop_all()
    assert code == 0, out
    assert not restored.exists()
    evidence = private.evidence()
    assert evidence["passed"]
    assert ("ours", True) in proofs(evidence)
    # no store has a byte of them plain
    (shard,) = real.glob("*-00001-*.safetensors")
    piece = shard.read_bytes()[20_000:20_064]
    for path in (private.sandbox / "stores").rglob("*"):
        assert not path.is_file() or piece not in path.read_bytes(), path


def test_a_failover_that_lost_them_has_them_again_and_counts_no_data_as_lost(
    private: Deployment,
) -> None:
    private.done("sandbox", "up")
    private.done("sandbox", "kill", "lambda")
    said = private.done("failover", "--to", "coreweave", "--yes")
    assert "ours came back; sncp, history, qdrant stayed in place" in said
    assert "no data was lost with it" in said
    (restored,) = private.sandbox.glob("runs/failover-*/restore/ours")
    assert contents(restored) == contents(private.folder.parent / "ours")
