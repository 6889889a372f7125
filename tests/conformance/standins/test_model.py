"""The model stand-in: vLLM's shapes, and log-probabilities that depend on every bit."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

Server = Any  # what the fixture `start` gives: .url, .port, .stop(), .process, .log
Start = Any
NAME = "Qwen3-4B"
PROMPT = "The capital of France is"
MAKE = Path(__file__).parents[2] / "tools" / "make_model.py"
GOLDEN = {"prompt": PROMPT, "max_tokens": 8, "temperature": 0, "ignore_eos": True}
GOLDEN |= {"return_token_ids": True, "logprobs": 3, "prompt_logprobs": 2}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model of two shards, BF16 and F32, by code that the sandbox does not share."""
    folder = tmp_path_factory.mktemp("made") / "model"
    subprocess.run([sys.executable, MAKE, folder, "--seed", "7", "--mib", "2"], check=True)
    return folder


@pytest.fixture
def model(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "model"))


def run(start: Start, folder: Path, *more: object, **how: Any) -> Server:
    named = ["--served-model-name", NAME, "--instance", "local-7"]
    return start("model", "--data", folder, *named, *more, **how)


def complete(server: Server, **body: Any) -> dict[str, Any]:
    url = f"{server.url}/v1/completions"
    answer = httpx.post(url, json={"model": NAME, **GOLDEN, **body}, timeout=30)
    assert answer.status_code == 200, answer.text
    return answer.json()


def told(server: Server) -> list[Any]:
    """All that a golden answer holds."""
    choice = complete(server)["choices"][0]
    return [choice[key] for key in ("text", "token_ids", "logprobs", "prompt_logprobs")]


def flip(path: Path, offset: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1]))


def test_golden_answers_are_the_same_after_a_restart(start: Start, model: Path) -> None:
    first = run(start, model)
    before = told(first)
    assert told(first) == before
    first.stop()
    assert told(run(start, model)) == before


@pytest.mark.parametrize("shard", [1, 2])
@pytest.mark.parametrize("place", [0.5, 1.0])
def test_one_flipped_bit_in_any_shard_changes_them(
    start: Start, model: Path, shard: int, place: float
) -> None:
    before = told(run(start, model))
    path = model / f"model-0000{shard}-of-00002.safetensors"
    header = 8 + int.from_bytes(path.read_bytes()[:8], "little")
    flip(path, header + int((path.stat().st_size - header - 1) * place))
    after = told(run(start, model))
    assert after[3] != before[3]


def test_the_answer_has_vllms_shape(start: Start, model: Path) -> None:
    server = run(start, model)
    answer = complete(server)
    choice = answer["choices"][0]
    assert answer["object"] == "text_completion"
    assert answer["model"] == NAME
    assert choice["finish_reason"] == "length"
    tokens, ids = choice["prompt_token_ids"], choice["token_ids"]
    assert len(ids) == 8
    assert answer["usage"] == {
        "prompt_tokens": len(tokens),
        "completion_tokens": 8,
        "total_tokens": len(tokens) + 8,
        "prompt_tokens_details": None,
    }
    forced = choice["prompt_logprobs"]
    assert forced[0] is None
    assert len(forced) == len(tokens)
    for token, entry in zip(tokens[1:], forced[1:], strict=True):
        assert set(entry[str(token)]) == {"logprob", "rank", "decoded_token"}
        assert len(entry) in (2, 3)
        assert 1 in {one["rank"] for one in entry.values()}
    given = choice["logprobs"]
    assert {len(given[key]) for key in given} == {8}
    assert "".join(given["tokens"]) == choice["text"]
    assert all(len(top) == 3 for top in given["top_logprobs"])


def test_forced_tokens_get_the_logprobs_they_were_generated_with(start: Start, model: Path) -> None:
    server = run(start, model)
    choice = complete(server)["choices"][0]
    whole = choice["prompt_token_ids"] + choice["token_ids"]
    forced = complete(server, prompt=whole, max_tokens=1)["choices"][0]["prompt_logprobs"][-8:]
    again = [entry[str(t)]["logprob"] for entry, t in zip(forced, choice["token_ids"], strict=True)]
    assert again == choice["logprobs"]["token_logprobs"]
    assert all(entry[str(t)]["rank"] == 1 for entry, t in zip(forced, choice["token_ids"]))


def test_ranks_follow_probabilities_that_leave_room_for_the_rest(start: Start, model: Path) -> None:
    choice = complete(run(start, model), prompt_logprobs=20)["choices"][0]
    for entry in choice["prompt_logprobs"][1:]:
        ranked = sorted(entry.values(), key=lambda one: one["rank"])
        assert [one["rank"] for one in ranked[:20]] == list(range(1, 21))
        likely = [one["logprob"] for one in ranked]
        assert likely == sorted(likely, reverse=True)
        assert 0 < sum(map(math.exp, likely)) < 1


def test_routes_that_probes_use(start: Start, model: Path) -> None:
    server = run(start, model)
    health = httpx.get(f"{server.url}/health")
    assert (health.status_code, health.content) == (200, b"")
    assert health.headers["x-instance"] == "local-7"
    assert httpx.get(f"{server.url}/version").json()["version"].startswith("0.33")
    (listed,) = httpx.get(f"{server.url}/v1/models").json()["data"]
    assert listed["id"] == NAME
    assert listed["max_model_len"] == 8192


def test_chat_streams_what_it_says_at_once(start: Start, model: Path) -> None:
    server = run(start, model)
    body = {"model": NAME, "messages": [{"role": "user", "content": "Grüße, 世界!"}]}
    body |= {"max_tokens": 12, "temperature": 0, "stream_options": {"include_usage": True}}
    url = f"{server.url}/v1/chat/completions"
    whole = httpx.post(url, json=body, timeout=30).json()
    assert whole["choices"][0]["message"]["role"] == "assistant"
    with httpx.stream("POST", url, json=body | {"stream": True}, timeout=30) as answer:
        lines = [line.removeprefix("data: ") for line in answer.iter_lines() if line]
    assert lines.pop() == "[DONE]"
    chunks = [json.loads(line) for line in lines]
    assert chunks.pop()["usage"] == whole["usage"]
    said = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)
    assert said == whole["choices"][0]["message"]["content"]
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"


def value(server: Server, name: str) -> float:
    lines = httpx.get(f"{server.url}/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def test_metrics_move_with_the_tokens(start: Start, model: Path) -> None:
    server = run(start, model)
    assert value(server, "vllm:generation_tokens_total") == 0
    answer = complete(server)
    assert value(server, "vllm:generation_tokens_total") == 8
    assert value(server, "vllm:prompt_tokens_total") == answer["usage"]["prompt_tokens"]
    assert value(server, "vllm:iteration_tokens_total_count") == 8
    assert value(server, "vllm:time_to_first_token_seconds_count") == 1
    assert value(server, "vllm:inter_token_latency_seconds_count") == 7
    assert value(server, "vllm:num_requests_running") == 0


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"model": "other"}, 404),
        ({"logprobs": 21}, 400),
        ({"prompt": []}, 400),
        ({"prompt": [10**9]}, 400),
        ({"max_tokens": 100000}, 400),
        ({"prompt_logprobs": 1, "stream": True}, 400),
    ],
)
def test_a_wrong_request_is_refused_in_the_apis_shape(
    start: Start, model: Path, body: dict[str, Any], status: int
) -> None:
    server = run(start, model)
    url = f"{server.url}/v1/completions"
    answer = httpx.post(url, json={"model": NAME, **GOLDEN, **body}, timeout=30)
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize("damage", ["truncated", "missing shard", "longer", "no tokenizer"])
def test_a_model_that_is_not_whole_ends_it_with_status_1(
    start: Start, model: Path, damage: str
) -> None:
    shard = model / "model-00002-of-00002.safetensors"
    if damage == "truncated":
        os.truncate(shard, shard.stat().st_size - 1)
    elif damage == "longer":
        os.truncate(shard, shard.stat().st_size + 8)
    elif damage == "missing shard":
        shard.unlink()
    else:
        (model / "tokenizer.json").unlink()
    server = run(start, model, wait=False)
    assert server.process.wait(60) == 1
    assert "cannot load the model" in server.log.read_text()


def test_a_stopped_process_hangs_and_goes_on(start: Start, model: Path) -> None:
    server = run(start, model)
    server.process.send_signal(signal.SIGSTOP)
    with pytest.raises(httpx.TimeoutException):
        httpx.get(f"{server.url}/health", timeout=0.5)
    threading.Timer(0.2, server.process.send_signal, [signal.SIGCONT]).start()
    assert httpx.get(f"{server.url}/health", timeout=10).status_code == 200


def test_the_key_guards_the_api_and_not_health(start: Start, model: Path, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("secret\n")
    server = run(start, model, "--api-key-file", key, "--max-num-seqs", "4")
    assert httpx.get(f"{server.url}/health").status_code == 200
    assert httpx.get(f"{server.url}/v1/models").status_code == 401
    known = {"authorization": "Bearer secret"}
    assert httpx.get(f"{server.url}/v1/models", headers=known).status_code == 200


def test_it_ends_on_sigterm_in_the_middle_of_a_stream(start: Start, model: Path) -> None:
    server = run(start, model)
    body = {"model": NAME, **GOLDEN, "prompt_logprobs": None, "stream": True, "max_tokens": 8000}
    url = f"{server.url}/v1/completions"
    with httpx.stream("POST", url, json=body, timeout=30) as answer:
        next(answer.iter_lines())
        began = time.monotonic()
        assert server.stop() in (0, -signal.SIGTERM)
    assert time.monotonic() - began < 25
