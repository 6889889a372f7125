"""One round against one vLLM server, by address: it lives, it is the one, and tokens come.

vLLM's `/health` reads a flag in the API process and stays 200 while the engine hangs, so only a
completion proves anything. Its prompt holds a nonce that no prefix cache can have an answer to.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from drkit.clock import Clock
from drkit.compute.interface import Endpoint
from drkit.health.ask import Reply, ask
from drkit.health.interface import Observation, ProbeResult, Verdict
from drkit.http_client import NoAnswer
from drkit.io_policy import PROBE_COMPLETION, PROBE_LIVENESS, Deadline

PASSED, FAILED, NOT_MEASURED = Verdict.PASSED, Verdict.FAILED, Verdict.NOT_MEASURED

# They move with every step of the engine. (The third is the count of a histogram.)
_TOKEN_COUNTERS = (
    "vllm:generation_tokens_total",
    "vllm:prompt_tokens_total",
    "vllm:iteration_tokens_total_count",
)


class HttpProber:
    """Satisfies `Prober`."""

    def __init__(
        self, clock: Clock, *, completion_timeout_s: float = PROBE_COMPLETION.total_s
    ) -> None:
        self._clock = clock
        self._completion = Deadline(PROBE_COMPLETION.connect_s, completion_timeout_s)

    def observe(self, endpoint: Endpoint, *, model: str, api_key: str | None) -> Observation:
        at = self._clock.now()
        alive, reachable = self._liveness(endpoint)
        if not reachable:
            unasked = (
                ProbeResult(probe, NOT_MEASURED, "not asked: no connection")
                for probe in ("identity", "completion")
            )
            return Observation(at, endpoint.url, (alive, *unasked))
        identity = self._identity(endpoint, model, api_key)
        completion, answered_by = self._completes(endpoint, model, api_key)
        return Observation(at, endpoint.url, (alive, identity, *completion), answered_by)

    def _liveness(self, endpoint: Endpoint) -> tuple[ProbeResult, bool]:
        """The result, and whether there is anything to ask further."""
        try:
            reply = ask(endpoint, "GET", "/health", PROBE_LIVENESS, clock=self._clock)
        except NoAnswer as error:
            return ProbeResult("liveness", FAILED, error.message), error.sent
        verdict = PASSED if reply.status == 200 else FAILED
        return ProbeResult("liveness", verdict, str(reply.status), reply.latency_s), True

    def _identity(self, endpoint: Endpoint, model: str, api_key: str | None) -> ProbeResult:
        try:
            reply = ask(
                endpoint, "GET", "/v1/models", PROBE_LIVENESS, clock=self._clock, api_key=api_key
            )
        except NoAnswer as error:
            return ProbeResult("identity", FAILED, error.message)
        if reply.status != 200:
            return ProbeResult("identity", FAILED, _refusal(reply), reply.latency_s)
        served = _served_models(reply.json())
        verdict = PASSED if model in served else FAILED
        shown = ", ".join(served[:5]) or "no model"
        return ProbeResult("identity", verdict, f"serves {shown}", reply.latency_s)

    def _completes(
        self, endpoint: Endpoint, model: str, api_key: str | None
    ) -> tuple[tuple[ProbeResult, ...], str | None]:
        """The completion's result, after a timeout also `progress`; and who answered."""
        before = self._token_counts(endpoint)
        body = {
            "model": model,
            "prompt": f"ping-{secrets.token_hex(8)}",
            "max_tokens": 1,
            "temperature": 0,
            "ignore_eos": True,
        }
        try:
            reply = ask(
                endpoint,
                "POST",
                "/v1/completions",
                self._completion,
                clock=self._clock,
                api_key=api_key,
                body=body,
            )
        except NoAnswer as error:
            if not error.timed_out:
                return (ProbeResult("completion", FAILED, error.message),), None
            return self._unanswered(endpoint, before, error), None
        return _judge(reply, model)

    def _unanswered(
        self, endpoint: Endpoint, before: Mapping[str, float], error: NoAnswer
    ) -> tuple[ProbeResult, ...]:
        """Tokens that came meanwhile veto the failure: a full queue is no outage."""
        after = self._token_counts(endpoint)
        moved = [name for name in before if after.get(name, 0.0) > before[name]]
        if moved:
            return (
                ProbeResult("completion", NOT_MEASURED, "queued: others' tokens come meanwhile"),
                ProbeResult("progress", PASSED, f"{moved[0]} moves"),
            )
        if before and after:
            progress = ProbeResult("progress", FAILED, "no token counter moves")
        else:
            progress = ProbeResult("progress", NOT_MEASURED, "no token counter to be read")
        return (ProbeResult("completion", FAILED, error.message), progress)

    def _token_counts(self, endpoint: Endpoint) -> dict[str, float]:
        """Each counter summed over engines; what is not there is not in it, and never 0."""
        try:
            reply = ask(endpoint, "GET", "/metrics", PROBE_LIVENESS, clock=self._clock)
        except NoAnswer:
            return {}
        return token_counts(reply.body.decode(errors="replace")) if reply.status == 200 else {}


def token_counts(text: str) -> dict[str, float]:
    """vLLM's token counters in Prometheus' text format, summed over their labels."""
    counts: dict[str, float] = {}
    for line in text.splitlines():
        name = line.partition("{")[0].partition(" ")[0]
        if name in _TOKEN_COUNTERS:
            try:
                value = float(line.rpartition("}")[2].split()[-1])
            except (ValueError, IndexError):
                continue
            counts[name] = counts.get(name, 0.0) + value
    return counts


def _judge(reply: Reply, model: str) -> tuple[tuple[ProbeResult, ...], str | None]:
    def result(verdict: Verdict, detail: str) -> tuple[ProbeResult, ...]:
        return (ProbeResult("completion", verdict, detail, reply.latency_s),)

    if reply.status != 200:
        return result(FAILED, _refusal(reply)), None
    answer = reply.json()
    answered_by = answer.get("model") if isinstance(answer, dict) else None
    if not isinstance(answered_by, str):
        return result(FAILED, "the answer names no model, so it proves nothing"), None
    if answered_by != model:
        return result(FAILED, f"answered by {answered_by}, not by {model}"), answered_by
    usage = answer.get("usage")
    tokens = usage.get("completion_tokens") if isinstance(usage, dict) else None
    if not isinstance(tokens, int) or tokens < 1:
        return result(FAILED, "an answer without a token"), answered_by
    return result(PASSED, f"answered by {answered_by}"), answered_by


def _served_models(answer: Any) -> list[str]:
    data = answer.get("data") if isinstance(answer, dict) else None
    entries = data if isinstance(data, list) else []
    return [str(entry["id"]) for entry in entries if isinstance(entry, dict) and "id" in entry]


def _refusal(reply: Reply) -> str:
    text = " ".join(reply.body[:200].decode(errors="replace").split())
    return f"{reply.status} {text}".strip()
