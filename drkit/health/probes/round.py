"""One round against one model server, by address: it lives, it is the one, and tokens come.

vLLM's `/health` reads a flag in the API process and stays 200 while the engine hangs, so only a
completion proves anything. Its prompt holds a nonce that no prefix cache can have an answer to.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import Any

from drkit.clock import Clock
from drkit.compute.interface import Endpoint
from drkit.health.ask import Reply, ask
from drkit.health.dialects import DIALECTS, VLLM, Dialect
from drkit.health.interface import Observation, ProbeResult, Verdict
from drkit.health.scrape import Scrape, moved, read_scrape
from drkit.http_client import NoAnswer
from drkit.io_policy import PROBE_COMPLETION, PROBE_LIVENESS, Deadline

PASSED, FAILED, NOT_MEASURED = Verdict.PASSED, Verdict.FAILED, Verdict.NOT_MEASURED


@dataclass(frozen=True, slots=True)
class _Asked:
    """What one probe found. `slow`: no whole answer came in time, which alone proves nothing."""

    result: ProbeResult
    slow: bool = False
    reachable: bool = True
    answered_by: str | None = None


class HttpProber:
    """Satisfies `Prober`. `dialect` None: whatever the server's metrics show that it is."""

    def __init__(
        self,
        clock: Clock,
        *,
        completion_timeout_s: float = PROBE_COMPLETION.total_s,
        dialect: str | None = None,
    ) -> None:
        self._clock = clock
        self._completion = Deadline(PROBE_COMPLETION.connect_s, completion_timeout_s)
        self._dialect: Dialect | None = DIALECTS[dialect] if dialect else None

    def observe(self, endpoint: Endpoint, *, model: str, api_key: str | None) -> Observation:
        at = self._clock.now()
        alive = self._liveness(endpoint)
        if not alive.reachable:
            unasked = (
                ProbeResult(probe, NOT_MEASURED, "not asked: no connection")
                for probe in ("identity", "completion")
            )
            return Observation(at, endpoint.url, (alive.result, *unasked))
        identity = self._identity(endpoint, model, api_key)
        before = self._scrape(endpoint, api_key)
        completion = self._completes(endpoint, model, api_key, before)
        after = self._scrape(endpoint, api_key)
        asked = (alive, identity, completion)
        return Observation(
            at,
            endpoint.url,
            _weighed(asked, before, after),
            completion.answered_by,
            after or before,
        )

    def _liveness(self, endpoint: Endpoint) -> _Asked:
        path = self._dialect.health if self._dialect else VLLM.health
        try:
            reply = ask(endpoint, "GET", path, PROBE_LIVENESS, clock=self._clock)
        except NoAnswer as error:
            result = ProbeResult("liveness", FAILED, error.message)
            return _Asked(result, slow=error.sent and error.timed_out, reachable=error.sent)
        verdict = PASSED if reply.status == 200 else FAILED
        return _Asked(ProbeResult("liveness", verdict, str(reply.status), reply.latency_s))

    def _identity(self, endpoint: Endpoint, model: str, api_key: str | None) -> _Asked:
        try:
            reply = ask(
                endpoint, "GET", "/v1/models", PROBE_LIVENESS, clock=self._clock, api_key=api_key
            )
        except NoAnswer as error:
            return _Asked(ProbeResult("identity", FAILED, error.message), slow=error.timed_out)
        if reply.status != 200:
            return _Asked(ProbeResult("identity", FAILED, _refusal(reply), reply.latency_s))
        served = _served_models(reply.json())
        verdict = PASSED if model in served else FAILED
        shown = ", ".join(served[:5]) or "no model"
        return _Asked(ProbeResult("identity", verdict, f"serves {shown}", reply.latency_s))

    def _completes(
        self, endpoint: Endpoint, model: str, api_key: str | None, scrape: Scrape | None
    ) -> _Asked:
        spoken = self._dialect or (DIALECTS[scrape.dialect] if scrape else None)
        extra = dict(spoken.extra) if spoken else {"temperature": 0}
        body = {"model": model, "prompt": f"ping-{secrets.token_hex(8)}", "max_tokens": 1}
        try:
            reply = ask(
                endpoint,
                "POST",
                "/v1/completions",
                self._completion,
                clock=self._clock,
                api_key=api_key,
                body=body | extra,
            )
        except NoAnswer as error:
            return _Asked(ProbeResult("completion", FAILED, error.message), slow=error.timed_out)
        return _judge(reply, model)

    def _scrape(self, endpoint: Endpoint, api_key: str | None) -> Scrape | None:
        """What the server measures of itself; llama.cpp's wants the key for that too."""
        try:
            reply = ask(
                endpoint, "GET", "/metrics", PROBE_LIVENESS, clock=self._clock, api_key=api_key
            )
        except NoAnswer:
            return None
        if reply.status != 200:
            return None
        text = reply.body.decode(errors="replace")
        name = self._dialect.name if self._dialect else None
        return read_scrape(text, self._clock.elapsed_s(), dialect=name)


def _weighed(
    asked: tuple[_Asked, ...], before: Scrape | None, after: Scrape | None
) -> tuple[ProbeResult, ...]:
    """The results with `progress`. Tokens that came veto what only timed out (H2): a full queue,
    or a front end that is slow under load, is no outage.
    """
    results = tuple(each.result for each in asked)
    came = results[-1].verdict is PASSED
    counter = moved(before, after)
    if counter is None and not came:
        shown = before and after and before.steps and after.steps
        if shown and asked[-1].slow:
            return (*results, ProbeResult("progress", FAILED, "no token counter moves"))
        why = "no token counter moved at once" if shown else "no token counter to be read"
        return (*results, ProbeResult("progress", NOT_MEASURED, why))
    if counter is not None:
        progress = ProbeResult("progress", PASSED, f"{counter} moves")
    else:
        progress = ProbeResult("progress", NOT_MEASURED, "a token came, and no counter shows it")
    return (*(_spared(each) if each.slow else each.result for each in asked), progress)


def _spared(asked: _Asked) -> ProbeResult:
    why = "queued" if asked.result.probe == "completion" else "slow"
    return replace(asked.result, verdict=NOT_MEASURED, detail=f"{why}: tokens come meanwhile")


def _judge(reply: Reply, model: str) -> _Asked:
    answered_by: str | None = None

    def result(verdict: Verdict, detail: str) -> _Asked:
        shown = ProbeResult("completion", verdict, detail, reply.latency_s)
        return _Asked(shown, answered_by=answered_by)

    if reply.status != 200:
        return result(FAILED, _refusal(reply))
    answer = reply.json()
    named = answer.get("model") if isinstance(answer, dict) else None
    if not isinstance(named, str):
        return result(FAILED, "the answer names no model, so it proves nothing")
    answered_by = named
    if answered_by != model:
        return result(FAILED, f"answered by {answered_by}, not by {model}")
    usage = answer.get("usage")
    tokens = usage.get("completion_tokens") if isinstance(usage, dict) else None
    if not isinstance(tokens, int) or tokens < 1:
        return result(FAILED, "an answer without a token")
    return result(PASSED, f"answered by {answered_by}")


def _served_models(answer: Any) -> list[str]:
    data = answer.get("data") if isinstance(answer, dict) else None
    entries = data if isinstance(data, list) else []
    return [str(entry["id"]) for entry in entries if isinstance(entry, dict) and "id" in entry]


def _refusal(reply: Reply) -> str:
    text = " ".join(reply.body[:200].decode(errors="replace").split())
    return f"{reply.status} {text}".strip()
