"""Model servers that answer as each documents: what they have is measured, the rest is not (H4)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from model_servers import MODEL, Server, serving

from drkit.clock import SystemClock
from drkit.compute.interface import Endpoint
from drkit.health.dialects import DIALECTS
from drkit.health.interface import Verdict
from drkit.health.measures.window import NotMeasured, Value, newest, quantile, rate, share
from drkit.health.probes.round import HttpProber


def buckets(name: str, labels: str, counts: tuple[int, int, int]) -> str:
    lines = [
        f'{name}_bucket{{{labels},le="{bound}"}} {count}'
        for bound, count in zip(("0.1", "0.5", "+Inf"), counts, strict=True)
    ]
    return "\n".join([*lines, f"{name}_sum{{{labels}}} 1.0", f"{name}_count{{{labels}}} 9"])


def sglang(n: int) -> str:
    label = 'model_name="m"'
    return f"""# TYPE sglang:num_running_reqs gauge
sglang:num_running_reqs{{{label}}} 3.0
sglang:num_queue_reqs{{{label}}} 2.0
sglang:token_usage{{{label}}} 0.28
sglang:prompt_tokens_total{{{label}}} {n * 10}.0
sglang:generation_tokens_total{{{label}}} {n}.0
{buckets("sglang:time_to_first_token_seconds", label, (n, n * 2, n * 2))}
{buckets("sglang:e2e_request_latency_seconds", label, (0, n, n))}
"""


def llama_cpp(n: int) -> str:
    return f"""# HELP llamacpp:prompt_tokens_total Number of prompt tokens processed.
llamacpp:prompt_tokens_total {n * 10}
llamacpp:tokens_predicted_total {n}
llamacpp:n_decode_total {n}
llamacpp:predicted_tokens_seconds nan
llamacpp:requests_processing 1
llamacpp:requests_deferred 4
"""


def tgi(n: int) -> str:
    return f"""tgi_queue_size 2
tgi_batch_current_size 3
tgi_batch_inference_count{{method="prefill"}} {n}
tgi_batch_inference_count{{method="decode"}} {n * 5}
tgi_request_count {n * 4}
tgi_request_failure{{err="overloaded"}} {n}
tgi_request_generated_tokens_sum {n * 7}
{buckets("tgi_request_duration", 'x="y"', (n, n, n * 2))}
"""


def vllm(n: int) -> str:
    label = 'engine="0",model_name="m"'
    return f"""vllm:num_requests_running{{{label}}} 1.0
vllm:num_requests_waiting{{{label}}} 0.0
vllm:gpu_cache_usage_perc{{{label}}} 0.5
vllm:generation_tokens_total{{{label}}} {n}.0
vllm:request_success_total{{{label},finished_reason="stop"}} {n * 3}.0
vllm:request_success_total{{{label},finished_reason="error"}} {n}.0
{buckets("vllm:time_to_first_token_seconds", label, (n, n, n))}
"""


@dataclass
class Documented(Server):
    """A server of one dialect: its health route, its metrics, and who may read them."""

    health_path: str = "/health"
    text: Callable[[int], str] | None = None
    key: str | None = None
    refuses: tuple[str, ...] = ()
    paths: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        Server.__init__(self)

    def reply(self, path: str, body: dict[str, object]) -> tuple[int, bytes]:
        self.paths.append(path)
        if path == "/metrics":
            if self.text is None:
                return 404, b""
            given = self.headers[-1].get("Authorization")
            if self.key is not None and given != f"Bearer {self.key}":
                return 401, b'{"error": {"code": 401}}'
            self.tokens = (self.tokens or 0) + self.tokens_per_read
            return 200, self.text(self.tokens).encode()
        if path in ("/health", "/health_generate"):
            return (self.health if path == self.health_path else 404), b'{"status":"ok"}'
        if path == "/v1/completions" and any(each in body for each in self.refuses):
            return 422, json.dumps({"error": "unknown field"}).encode()
        return Server.reply(self, path, body)


@contextmanager
def running(server: Documented) -> Iterator[Endpoint]:
    with serving(server) as endpoint:
        yield endpoint


def prober(dialect: str | None = None, timeout_s: float = 5) -> HttpProber:
    return HttpProber(SystemClock(), completion_timeout_s=timeout_s, dialect=dialect)


SERVERS = {
    "vllm": lambda: Documented(text=vllm),
    "sglang": lambda: Documented(text=sglang, health_path="/health_generate"),
    "llama.cpp": lambda: Documented(text=llama_cpp, key="key"),
    "tgi": lambda: Documented(text=tgi, refuses=("temperature", "ignore_eos")),
}


@pytest.mark.parametrize("name", SERVERS)
def test_each_is_alive_when_a_token_comes_and_its_counters_show_it(name: str) -> None:
    server = SERVERS[name]()
    with running(server) as endpoint:
        seen = prober(name).observe(endpoint, model=MODEL, api_key="key")
    assert seen.alive, seen.results
    verdicts = {each.probe: each.verdict for each in seen.results}
    assert verdicts["progress"] is Verdict.PASSED
    assert DIALECTS[name].health in server.paths
    assert seen.scrape is not None
    assert seen.scrape.dialect == name


@pytest.mark.parametrize("name", SERVERS)
def test_which_one_it_is_is_seen_from_its_metrics(name: str) -> None:
    server = SERVERS[name]()
    server.health_path = "/health"
    with running(server) as endpoint:
        seen = prober().observe(endpoint, model=MODEL, api_key="key")
    assert seen.alive, seen.results
    assert seen.scrape is not None
    assert seen.scrape.dialect == name


@pytest.mark.parametrize("name", SERVERS)
def test_H1_H2_a_hung_engine_and_a_full_queue_are_told_apart_on_each(name: str) -> None:
    server = SERVERS[name]()
    server.hangs = True
    with running(server) as endpoint:
        hung = prober(name, 0.3).observe(endpoint, model=MODEL, api_key="key")
        server.tokens_per_read = 7
        busy = prober(name, 0.3).observe(endpoint, model=MODEL, api_key="key")
    found = {each.probe: each.verdict for each in hung.results}
    assert (found["completion"], found["progress"]) == (Verdict.FAILED, Verdict.FAILED)
    found = {each.probe: each.verdict for each in busy.results}
    assert (found["completion"], found["progress"]) == (Verdict.NOT_MEASURED, Verdict.PASSED)


MEASURED = {
    "vllm": {"running", "waiting", "kv_cache", "tokens_per_s", "error_rate", "ttft_p95"},
    "sglang": {"running", "waiting", "kv_cache", "tokens_per_s", "ttft_p95", "latency_p95"},
    "llama.cpp": {"running", "waiting", "tokens_per_s"},
    "tgi": {"running", "waiting", "tokens_per_s", "error_rate", "latency_p95"},
}


@pytest.mark.parametrize("name", SERVERS)
def test_H4_what_each_has_is_measured_and_nothing_else(name: str) -> None:
    server = SERVERS[name]()
    rows = []
    with running(server) as endpoint:
        for _ in range(2):
            seen = prober(name).observe(endpoint, model=MODEL, api_key="key")
            rows.append(seen.scrape)
    measures = {gauge: newest(rows, gauge) for gauge in ("running", "waiting", "kv_cache")}
    measures["tokens_per_s"] = rate(rows, "generated")
    measures["error_rate"] = share(rows, "errors", "requests")
    measures["ttft_p95"] = quantile(rows, "ttft", 0.95)
    measures["latency_p95"] = quantile(rows, "latency", 0.95)
    assert {each for each, found in measures.items() if isinstance(found, Value)} == MEASURED[name]
    assert all(isinstance(measures[each], NotMeasured) for each in set(measures) - MEASURED[name])
    if name == "vllm":
        assert measures["error_rate"] == Value(0.25, 4)
        assert measures["kv_cache"] == Value(0.5, 2)
    if name == "tgi":
        assert measures["error_rate"] == Value(0.25, 4)


def test_a_server_without_metrics_is_watched_by_what_it_has() -> None:
    server = Documented(text=None, refuses=("ignore_eos",))
    with running(server) as endpoint:
        seen = prober().observe(endpoint, model=MODEL, api_key=None)
    assert seen.alive
    assert seen.scrape is None
    verdicts = {each.probe: each.verdict for each in seen.results}
    assert verdicts["progress"] is Verdict.NOT_MEASURED


def test_llama_cpp_that_still_loads_is_not_alive() -> None:
    server = SERVERS["llama.cpp"]()
    server.health = server.status = 503
    with running(server) as endpoint:
        assert not prober("llama.cpp").observe(endpoint, model=MODEL, api_key="key").alive


def test_H2_a_front_end_that_is_slow_under_load_is_no_outage(monkeypatch) -> None:
    import time

    from drkit.health.probes import round as probes
    from drkit.io_policy import Deadline

    class Slow(Documented):
        def reply(self, path: str, body: dict[str, object]) -> tuple[int, bytes]:
            if path in ("/health", "/v1/models"):
                time.sleep(1)
            return Documented.reply(self, path, body)

    monkeypatch.setattr(probes, "PROBE_LIVENESS", Deadline(connect_s=0.5, total_s=0.5))
    server = Slow(text=vllm)
    with running(server) as endpoint:
        seen = prober(timeout_s=30).observe(endpoint, model=MODEL, api_key=None)
        verdicts = {each.probe: each.verdict for each in seen.results}
        assert verdicts["liveness"] is Verdict.NOT_MEASURED
        assert verdicts["identity"] is Verdict.NOT_MEASURED
        assert seen.alive
        server.tokens = 5
        server.tokens_per_answer = 0
        server.answer = {"error": "dead"}
        seen = prober(timeout_s=30).observe(endpoint, model=MODEL, api_key=None)
    verdicts = {each.probe: each.verdict for each in seen.results}
    assert verdicts["liveness"] is Verdict.FAILED
    assert verdicts["completion"] is Verdict.FAILED
