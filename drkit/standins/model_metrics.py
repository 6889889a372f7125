"""vLLM's metric names, in Prometheus' text format, with values that really move."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

TTFT_S: tuple[float, ...] = (
    0.001,
    0.005,
    0.01,
    0.02,
    0.04,
    0.06,
    0.08,
    0.1,
    0.25,
    0.5,
    0.75,
    1.0,
    2.5,
    5.0,
    7.5,
    10.0,
)
TTFT_S += (20.0, 40.0, 80.0, 160.0, 640.0, 2560.0)
ITL_S: tuple[float, ...] = (
    0.01,
    0.025,
    0.05,
    0.075,
    0.1,
    0.15,
    0.2,
    0.3,
    0.4,
    0.5,
    0.75,
    1.0,
    2.5,
    5.0,
    7.5,
    10.0,
)
ITL_S += (20.0, 40.0, 80.0)
LONG_S: tuple[float, ...] = (
    0.3,
    0.5,
    0.8,
    1.0,
    1.5,
    2.0,
    2.5,
    5.0,
    10.0,
    15.0,
    20.0,
    30.0,
    40.0,
    50.0,
    60.0,
    120.0,
)
LONG_S += (240.0, 480.0, 960.0, 1920.0, 7680.0)
TOKENS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0)
STEP_TOKENS = (1.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0)
HISTOGRAMS = {
    "vllm:time_to_first_token_seconds": TTFT_S,
    "vllm:inter_token_latency_seconds": ITL_S,
    "vllm:request_time_per_output_token_seconds": ITL_S,
    "vllm:e2e_request_latency_seconds": LONG_S,
    "vllm:request_queue_time_seconds": LONG_S,
    "vllm:request_prefill_time_seconds": LONG_S,
    "vllm:request_decode_time_seconds": LONG_S,
    "vllm:request_inference_time_seconds": LONG_S,
    "vllm:request_prompt_tokens": TOKENS,
    "vllm:request_generation_tokens": TOKENS,
    "vllm:iteration_tokens_total": STEP_TOKENS,
}
COUNTERS = (
    "vllm:prompt_tokens",
    "vllm:generation_tokens",
    "vllm:num_preemptions",
    "vllm:prefix_cache_queries",
    "vllm:prefix_cache_hits",
)


class Histogram:
    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


class Metrics:
    """Thread-safe. One engine, one model name."""

    def __init__(self, model: str) -> None:
        self._labels = f'model_name="{model}",engine="0"'
        self._lock = threading.Lock()
        self._counters = dict.fromkeys(COUNTERS, 0)
        self._histograms = {name: Histogram(bounds) for name, bounds in HISTOGRAMS.items()}
        self._finished = {"stop": 0, "length": 0, "abort": 0}
        self._waiting = self._running = 0
        self._engine = threading.Lock()
        self._started = time.time()
        self._answers: dict[tuple[str, int], int] = {}
        self._busy_s = 0.0
        self._busy_since: float | None = None
        self._seen_at, self._seen_busy_s = time.perf_counter(), 0.0

    @contextmanager
    def request(self) -> Iterator[None]:
        """One request at a time is at the engine; the others wait and are counted as waiting."""
        came = time.perf_counter()
        with self._lock:
            self._waiting += 1
        with self._engine:
            with self._lock:
                self._waiting, self._running = self._waiting - 1, self._running + 1
                self._busy_since = time.perf_counter()
                self._observe("vllm:request_queue_time_seconds", time.perf_counter() - came)
            try:
                yield
            finally:
                with self._lock:
                    self._running -= 1
                    self._busy_s += time.perf_counter() - (self._busy_since or 0.0)
                    self._busy_since = None

    def step(self, tokens: int) -> None:
        """One turn of the engine that worked on `tokens` tokens."""
        with self._lock:
            self._observe("vllm:iteration_tokens_total", tokens)

    def finished(
        self, reason: str, prompt: int, generated: int, first_s: float, total_s: float
    ) -> None:
        """A request is done: token counts, seconds to its first token, and seconds in all."""
        decode_s = total_s - first_s
        each_s = decode_s / max(1, generated - 1)
        with self._lock:
            self._finished[reason] += 1
            self._counters["vllm:prompt_tokens"] += prompt
            self._counters["vllm:generation_tokens"] += generated
            self._counters["vllm:prefix_cache_queries"] += prompt
            for name, value in {
                "vllm:time_to_first_token_seconds": first_s,
                "vllm:request_prefill_time_seconds": first_s,
                "vllm:request_decode_time_seconds": decode_s,
                "vllm:request_inference_time_seconds": total_s,
                "vllm:e2e_request_latency_seconds": total_s,
                "vllm:request_time_per_output_token_seconds": each_s,
                "vllm:request_prompt_tokens": prompt,
                "vllm:request_generation_tokens": generated,
            }.items():
                self._observe(name, value)
            for _ in range(generated - 1):
                self._observe("vllm:inter_token_latency_seconds", each_s)

    def answered(self, handler: str, status: int) -> None:
        """A request was answered, as the front end counts them."""
        with self._lock:
            key = (handler, status)
            self._answers[key] = self._answers.get(key, 0) + 1

    def gpu_text(self) -> str:
        """How busy the engine was since this was last read, as DCGM's exporter shows a GPU."""
        with self._lock:
            now = time.perf_counter()
            running_s = now - self._busy_since if self._busy_since is not None else 0.0
            busy_s = self._busy_s + running_s
            passed_s = max(now - self._seen_at, 1e-6)
            percent = min(100.0, 100.0 * max(0.0, busy_s - self._seen_busy_s) / passed_s)
            self._seen_at, self._seen_busy_s = now, busy_s
        name = "DCGM_FI_DEV_GPU_UTIL"
        return f'# TYPE {name} gauge\n{name}{{gpu="0",modelName="stand-in"}} {percent:.0f}\n'

    def text(self) -> str:
        with self._lock:
            return "\n".join(self._lines()) + "\n"

    def _observe(self, name: str, value: float) -> None:
        self._histograms[name].observe(value)

    def _lines(self) -> Iterator[str]:
        labels = self._labels
        gauges = {
            "vllm:num_requests_running": self._running,
            "vllm:num_requests_waiting": self._waiting,
            "vllm:kv_cache_usage_perc": self._running * 0.01,
        }
        for name, value in gauges.items():
            yield from (f"# TYPE {name} gauge", f"{name}{{{labels}}} {float(value)}")
        for name, count in self._counters.items():
            yield from (f"# TYPE {name} counter", f"{name}_total{{{labels}}} {float(count)}")
        yield "# TYPE vllm:request_success counter"
        for reason, count in self._finished.items():
            labelled = f'{labels},finished_reason="{reason}"'
            yield f"vllm:request_success_total{{{labelled}}} {float(count)}"
        for name, histogram in self._histograms.items():
            yield f"# TYPE {name} histogram"
            sum_so_far = 0
            bounds = [*map(str, histogram.bounds), "+Inf"]
            for bound, count in zip(bounds, histogram.counts, strict=True):
                sum_so_far += count
                yield f'{name}_bucket{{{labels},le="{bound}"}} {float(sum_so_far)}'
            yield f"{name}_sum{{{labels}}} {histogram.sum}"
            yield f"{name}_count{{{labels}}} {float(sum_so_far)}"
        yield "# TYPE http_requests counter"
        for (handler, status), count in self._answers.items():
            labelled = f'handler="{handler}",method="POST",status="{status // 100}xx"'
            yield f"http_requests_total{{{labelled}}} {float(count)}"
        yield from (
            "# TYPE process_start_time_seconds gauge",
            f"process_start_time_seconds {self._started}",
        )
