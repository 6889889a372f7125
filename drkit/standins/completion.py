"""One completion: what was asked, the tokens and their log-probabilities, in vLLM's shapes."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from drkit.standins.language import Language, Logprob
from drkit.standins.model_metrics import Metrics
from drkit.standins.openai import Body, bad_request
from drkit.standins.tokenizer import Tokenizer

MOST_LOGPROBS = 20
PREFILL_TOKENS = 256  # positions that are worked on at once


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, checked. `None` logprobs: not wanted."""

    tokens: list[int]
    max_tokens: int
    temperature: float
    seed: int
    ignore_eos: bool
    stop: tuple[str, ...]
    logprobs: int | None
    prompt_logprobs: int | None
    echo: bool
    return_token_ids: bool


@dataclass(slots=True)
class Step:
    """One generated token."""

    chosen: Logprob
    top: list[Logprob]


@dataclass(slots=True)
class Said:
    """What was generated so far, and why it ended."""

    steps: list[Step] = field(default_factory=list)
    reason: str | None = None

    @property
    def ids(self) -> list[int]:
        return [step.chosen.token for step in self.steps]


class Model:
    """Language, tokenizer and limits; knows nothing of HTTP."""

    def __init__(
        self, language: Language, tokenizer: Tokenizer, *, eos: frozenset[int], max_len: int
    ) -> None:
        self.language = language
        self.tokenizer = tokenizer
        self.eos = eos
        self.max_len = max_len
        self.metrics: Metrics | None = None

    def asked(self, body: Body, tokens: list[int], default_tokens: int) -> Asked:
        most = body.get("max_tokens") or body.get("max_completion_tokens") or default_tokens
        logprobs = body.get("logprobs")
        if isinstance(logprobs, bool):  # the chat API says how many beside it
            logprobs = int(body.get("top_logprobs") or 0) if logprobs else None
        stop = body.get("stop") or ()
        asked = Asked(
            tokens=tokens,
            max_tokens=int(most),
            temperature=float(body.get("temperature", 1.0)),
            seed=int(body.get("seed") or 0),
            ignore_eos=bool(body.get("ignore_eos", False)),
            stop=(stop,) if isinstance(stop, str) else tuple(stop),
            logprobs=logprobs,
            prompt_logprobs=body.get("prompt_logprobs"),
            echo=bool(body.get("echo", False)),
            return_token_ids=bool(body.get("return_token_ids", False)),
        )
        for name in ("logprobs", "prompt_logprobs"):
            if (getattr(asked, name) or 0) > MOST_LOGPROBS:
                raise bad_request(f"at most {MOST_LOGPROBS} {name}", param=name)
        if body.get("n", 1) != 1:
            raise bad_request("this stand-in gives one answer per prompt", param="n")
        if not tokens:
            raise bad_request("the prompt has no tokens", param="prompt")
        if any(not 0 <= token < self.language.vocabulary for token in tokens):
            raise bad_request("a token id is out of the vocabulary", param="prompt")
        if asked.max_tokens < 1 or len(tokens) + asked.max_tokens > self.max_len:
            raise bad_request(
                f"the context of {self.max_len} tokens is too short for {len(tokens)} prompt "
                f"tokens and {asked.max_tokens} to generate",
                param="max_tokens",
            )
        return asked

    def generate(self, asked: Asked) -> Iterator[Step]:
        """Token by token, counting into the metrics; the last one's reason is `reason_of`."""
        assert self.metrics is not None
        with self.metrics.request():
            began = time.perf_counter()
            chance = random.Random(f"{asked.seed} {self.language.fingerprint} {asked.tokens}")
            tokens = list(asked.tokens)
            said = Said()
            first_s = 0.0
            try:
                while said.reason is None:
                    row = self.language.logprobs(tokens, [len(tokens)])[0]
                    self.metrics.step(len(tokens) if not said.steps else 1)
                    token = self.language.draw(row, asked.temperature, chance)
                    top = self.language.best(row, asked.logprobs or 0)
                    said.steps.append(Step(self.language.one(row, token), top))
                    first_s = first_s or time.perf_counter() - began
                    tokens.append(token)
                    said.reason = self.reason_of(asked, said)
                    yield said.steps[-1]
            finally:
                self.metrics.finished(
                    said.reason or "abort",
                    len(asked.tokens),
                    len(said.steps),
                    first_s,
                    time.perf_counter() - began,
                )

    def reason_of(self, asked: Asked, said: Said) -> str | None:
        if said.ids[-1] in self.eos and not asked.ignore_eos:
            return "stop"
        if asked.stop and any(stop in self.tokenizer.decode(said.ids) for stop in asked.stop):
            return "stop"
        return "length" if len(said.steps) >= asked.max_tokens else None

    def text(self, asked: Asked, ids: Sequence[int]) -> str:
        said = self.tokenizer.decode(ids)
        ends = [said.index(stop) for stop in asked.stop if stop in said]
        return said[: min(ends)] if ends else said

    def prompt_logprobs(self, asked: Asked) -> list[dict[str, Body] | None]:
        """None for the first token; then each one's log-probability and the likeliest others."""
        found: list[dict[str, Body] | None] = [None]
        count = asked.prompt_logprobs or 0
        positions = range(1, len(asked.tokens))
        for start in range(0, len(positions), PREFILL_TOKENS):
            part = positions[start : start + PREFILL_TOKENS]
            rows = self.language.logprobs(asked.tokens, part)
            for row, position in zip(rows, part, strict=True):
                given = self.language.one(row, asked.tokens[position])
                best = self.language.best(row, count)
                found.append({str(one.token): self._entry(one) for one in (given, *best)})
        return found

    def completion_logprobs(self, steps: Sequence[Step], offset: int) -> Body:
        """The completions API's form: four lists."""
        texts = [self.tokenizer.token_text(step.chosen.token) for step in steps]
        offsets = []
        for text in texts:
            offsets.append(offset)
            offset += len(text)
        return {
            "text_offset": offsets,
            "token_logprobs": [step.chosen.logprob for step in steps],
            "tokens": texts,
            "top_logprobs": [
                {self.tokenizer.token_text(o.token): o.logprob for o in (step.chosen, *step.top)}
                for step in steps
            ],
        }

    def chat_logprobs(self, steps: Sequence[Step]) -> Body:
        """The chat API's form: one entry per token."""

        def entry(one: Logprob) -> Body:
            raw = self.tokenizer.token_bytes(one.token)
            text = self.tokenizer.token_text(one.token)
            return {"token": text, "logprob": one.logprob, "bytes": list(raw)}

        return {
            "content": [
                {**entry(step.chosen), "top_logprobs": [entry(one) for one in step.top]}
                for step in steps
            ]
        }

    def _entry(self, one: Logprob) -> Body:
        text = self.tokenizer.token_text(one.token)
        return {"logprob": one.logprob, "rank": one.rank, "decoded_token": text}
