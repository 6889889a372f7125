"""Golden answers: what the healthy model said, and whether another server says the same.

Recording generates greedily; comparing forces the recorded tokens and looks at the
log-probability of each, so that one early difference does not make all later ones differ.
"""

from __future__ import annotations

from typing import Any

from drkit.clock import Clock
from drkit.compute.interface import Endpoint
from drkit.errors import PlaceError
from drkit.http_client import call_json
from drkit.io_policy import PROBE_COMPLETION
from drkit.points.point import GoldenAnswer, GoldenSet
from drkit.verify.proof import Proof

PROMPTS = (
    "The capital of France is",
    "def fibonacci(n):",
    "Remember this about me:",
)
_TOKENS = 12
_MOST_MEAN_DIFFERENCE = 0.05
_MOST_DIFFERENCE_SAME_SERVER = 1e-3


def record_golden(
    endpoint: Endpoint, *, model: str, api_key: str | None, clock: Clock
) -> GoldenSet:
    """What the server answers now. Raises `PlaceError` when it does not answer as vLLM does."""
    answers = []
    for prompt in PROMPTS:
        reply = _complete(
            endpoint,
            api_key,
            {
                "model": model,
                "prompt": prompt,
                "max_tokens": _TOKENS,
                "temperature": 0,
                "ignore_eos": True,
                "return_token_ids": True,
            },
        )
        choice = reply["choices"][0]
        prompt_ids, token_ids = tuple(choice["prompt_token_ids"]), tuple(choice["token_ids"])
        forced = _forced_logprobs(endpoint, model, api_key, prompt_ids, token_ids)
        answers.append(
            GoldenAnswer(prompt_token_ids=prompt_ids, token_ids=token_ids, logprobs=forced)
        )
    return GoldenSet(
        model=model,
        server_version=_version(endpoint),
        recorded_at=clock.now(),
        answers=tuple(answers),
    )


def verify_golden(
    golden: GoldenSet, endpoint: Endpoint, *, model: str, api_key: str | None
) -> Proof:
    """The proof that the server gives the recorded tokens the recorded probabilities.

    On the same server version every token must agree within 1e-3; on another one the mean
    difference must stay within 0.05 (facts of batch-size and GPU noise in docs/decisions).
    """
    subject = f"{model} at {endpoint.url}"
    try:
        differences = [
            abs(now - then)
            for answer in golden.answers
            for now, then in zip(
                _forced_logprobs(
                    endpoint, model, api_key, answer.prompt_token_ids, answer.token_ids
                ),
                answer.logprobs,
                strict=True,
            )
        ]
        same = _version(endpoint) == golden.server_version
    except PlaceError as error:
        return Proof("golden logprobs", subject, False, error.message)
    mean, most = sum(differences) / len(differences), max(differences)
    passed = most <= _MOST_DIFFERENCE_SAME_SERVER if same else mean <= _MOST_MEAN_DIFFERENCE
    return Proof(
        "golden logprobs",
        subject,
        passed,
        f"{len(differences)} tokens of {len(golden.answers)} prompts: "
        f"mean difference {mean:.2g}, most {most:.2g}",
    )


def _forced_logprobs(
    endpoint: Endpoint,
    model: str,
    api_key: str | None,
    prompt_ids: tuple[int, ...],
    token_ids: tuple[int, ...],
) -> tuple[float, ...]:
    """Log-probability of each of `token_ids` when the server is made to follow them."""
    reply = _complete(
        endpoint,
        api_key,
        {
            "model": model,
            "prompt": [*prompt_ids, *token_ids],
            "max_tokens": 1,
            "temperature": 0,
            "prompt_logprobs": 1,
        },
    )
    try:
        entries = reply["choices"][0]["prompt_logprobs"][len(prompt_ids) :]
        return tuple(
            float(entry[str(token)]["logprob"])
            for entry, token in zip(entries, token_ids, strict=True)
        )
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise PlaceError(
            f"{endpoint.url} gives no prompt_logprobs: {error!r}",
            hint="golden answers need a server that speaks vLLM's /v1/completions",
        ) from None


def _complete(endpoint: Endpoint, api_key: str | None, body: dict[str, Any]) -> dict[str, Any]:
    headers = {"authorization": f"Bearer {api_key}"} if api_key else None
    answer: dict[str, Any] = call_json(
        endpoint.url, "POST", "/v1/completions", PROBE_COMPLETION, headers=headers, body=body
    )
    return answer


def _version(endpoint: Endpoint) -> str:
    try:
        return str(call_json(endpoint.url, "GET", "/version", PROBE_COMPLETION)["version"])
    except (PlaceError, KeyError, TypeError):
        return "unknown"
