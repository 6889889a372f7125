"""What each kind of model server calls its health, its token counters and its measurements.

Read from vLLM 0.33, SGLang 0.5, llama.cpp's server and TGI 3 as each documents them; former names
come after the present ones. What a server does not have is absent here, and so not measured (H4).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

HTTP_REQUESTS = "http_requests_total"
STARTED = "process_start_time_seconds"


@dataclass(frozen=True, slots=True)
class Pick:
    """The sum over the series called `name` whose labels begin as `where` says."""

    name: str
    where: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


Picks = tuple[Pick, ...]
"""The first whose name the server shows is taken."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """One kind of server. `steps`: counters that move whenever its engine works.

    `gauges` are summed over engines, but `kv_cache` (0 to 1) is the fullest one's. `extra` goes
    into the body of a one-token completion.
    """

    name: str
    prefix: str
    health: str
    steps: tuple[str, ...]
    gauges: Mapping[str, Picks]
    counters: Mapping[str, Picks]
    histograms: Mapping[str, tuple[str, ...]]
    extra: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))


def _picks(*names: str) -> Picks:
    return tuple(Pick(name) for name in names)


VLLM = Dialect(
    name="vllm",
    prefix="vllm:",
    health="/health",
    steps=(
        "vllm:generation_tokens_total",
        "vllm:prompt_tokens_total",
        "vllm:iteration_tokens_total_count",
    ),
    gauges={
        "running": _picks("vllm:num_requests_running"),
        "waiting": _picks("vllm:num_requests_waiting"),
        "kv_cache": _picks("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"),
    },
    counters={
        "generated": _picks("vllm:generation_tokens_total"),
        "requests": (
            Pick(HTTP_REQUESTS, {"handler": "/v1/"}),
            *_picks("vllm:request_success_total"),
        ),
        "errors": (
            Pick(HTTP_REQUESTS, {"handler": "/v1/", "status": "5"}),
            Pick("vllm:request_success_total", {"finished_reason": "error"}),
        ),
    },
    histograms={
        "ttft": ("vllm:time_to_first_token_seconds",),
        "latency": ("vllm:e2e_request_latency_seconds",),
        "itl": ("vllm:inter_token_latency_seconds", "vllm:time_per_output_token_seconds"),
    },
    extra={"temperature": 0, "ignore_eos": True},
)

SGLANG = Dialect(
    name="sglang",
    prefix="sglang:",
    health="/health_generate",
    steps=("sglang:generation_tokens_total", "sglang:prompt_tokens_total"),
    gauges={
        "running": _picks("sglang:num_running_reqs"),
        "waiting": _picks("sglang:num_queue_reqs"),
        "kv_cache": _picks("sglang:token_usage"),
    },
    counters={"generated": _picks("sglang:generation_tokens_total")},
    histograms={
        "ttft": ("sglang:time_to_first_token_seconds",),
        "latency": ("sglang:e2e_request_latency_seconds",),
        "itl": ("sglang:inter_token_latency_seconds", "sglang:time_per_output_token_seconds"),
    },
    extra={"temperature": 0, "ignore_eos": True},
)

LLAMA_CPP = Dialect(
    name="llama.cpp",
    prefix="llamacpp:",
    health="/health",
    steps=(
        "llamacpp:tokens_predicted_total",
        "llamacpp:prompt_tokens_total",
        "llamacpp:n_decode_total",
    ),
    gauges={
        "running": _picks("llamacpp:requests_processing"),
        "waiting": _picks("llamacpp:requests_deferred"),
        "kv_cache": _picks("llamacpp:kv_cache_usage_ratio"),
    },
    counters={"generated": _picks("llamacpp:tokens_predicted_total")},
    histograms={},
    extra={"temperature": 0, "ignore_eos": True},
)

TGI = Dialect(
    name="tgi",
    prefix="tgi_",
    health="/health",
    steps=("tgi_batch_inference_count", "tgi_batch_inference_success"),
    gauges={
        "running": _picks("tgi_batch_current_size"),
        "waiting": _picks("tgi_queue_size"),
    },
    counters={
        "generated": _picks("tgi_request_generated_tokens_sum"),
        "requests": _picks("tgi_request_count"),
        "errors": _picks("tgi_request_failure"),
    },
    histograms={"latency": ("tgi_request_duration",)},
)

DIALECTS: Mapping[str, Dialect] = {each.name: each for each in (VLLM, SGLANG, LLAMA_CPP, TGI)}


def spoken(names: set[str]) -> Dialect | None:
    """The dialect in which these metrics are named; None when it is none of ours."""
    for dialect in DIALECTS.values():
        if any(name.startswith(dialect.prefix) for name in names):
            return dialect
    return None
