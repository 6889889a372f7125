"""A small OpenAI-compatible server on real safetensors, with vLLM's routes, shapes and metrics.

    python -m drkit.standins.model --data MODEL_DIR --host 127.0.0.11 --port 8000
        --served-model-name Qwen3-4B --instance local-1

It does not listen before every tensor was read. A directory that vLLM's loader would refuse ends
it with status 1. Other options of vLLM are accepted and ignored.
"""

from __future__ import annotations

import argparse
import hmac
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from drkit.standins.completion import Asked, Model, Said
from drkit.standins.language import Language
from drkit.standins.model_metrics import Metrics
from drkit.standins.openai import (
    ApiError,
    Body,
    bad_request,
    event_stream,
    model_list,
    new_id,
    read_body,
    usage,
)
from drkit.standins.safetensors import DamagedModel, load_tensors
from drkit.standins.serve import serve
from drkit.standins.tokenizer import Tokenizer

VERSION = "0.33.0+standin"
DEFAULT_COMPLETION_TOKENS = 16
DEFAULT_CHAT_TOKENS = 64


class Server:
    """The application over one loaded model."""

    def __init__(self, model: Model, name: str, instance: str, key: str | None) -> None:
        self._model, self._name, self._key = model, name, key
        self._metrics = model.metrics = Metrics(name)
        self._headers = {"x-instance": instance}
        self.app = Starlette(
            routes=[
                Route("/health", self._health),
                Route("/ping", self._health, methods=["GET", "POST"]),
                Route("/version", self._version),
                Route("/metrics", self._scrape),
                Route("/dcgm/metrics", self._gpu),
                Route("/v1/models", self._models),
                Route("/v1/completions", self._complete, methods=["POST"]),
                Route("/v1/chat/completions", self._chat, methods=["POST"]),
            ],
            exception_handlers={ApiError: _refused},
            middleware=[Middleware(_Counted, metrics=self._metrics)],
        )

    async def _health(self, _request: Request) -> Response:
        return Response(headers=self._headers)

    async def _version(self, _request: Request) -> Response:
        return JSONResponse({"version": VERSION}, headers=self._headers)

    async def _scrape(self, _request: Request) -> Response:
        return PlainTextResponse(self._metrics.text(), headers=self._headers)

    async def _gpu(self, _request: Request) -> Response:
        return PlainTextResponse(self._metrics.gpu_text())

    async def _models(self, request: Request) -> Response:
        self._known(request)
        more = {"root": self._name, "parent": None, "max_model_len": self._model.max_len}
        return JSONResponse(model_list([self._name], **more), headers=self._headers)

    async def _complete(self, request: Request) -> Response:
        body = await self._asked_for(request)
        prompts = await run_in_threadpool(self._prompts, body.get("prompt"))
        asked = [self._model.asked(body, p, DEFAULT_COMPLETION_TOKENS) for p in prompts]
        if body.get("stream"):
            if len(asked) != 1 or asked[0].prompt_logprobs is not None:
                raise bad_request("a stream has one prompt and no prompt_logprobs")
            return self._stream(asked[0], body, chat=False)
        choices = [
            await run_in_threadpool(self._choice, number, one, chat=False)
            for number, one in enumerate(asked)
        ]
        return self._whole(choices, asked, chat=False)

    async def _chat(self, request: Request) -> Response:
        body = await self._asked_for(request)
        messages = body.get("messages")
        if not isinstance(messages, list) or not messages:
            raise bad_request("messages must be a list with something in it", param="messages")
        said = [(str(m.get("role")), _content(m.get("content"))) for m in messages]
        tokens = await run_in_threadpool(self._model.tokenizer.chat, said)
        asked = self._model.asked(body, tokens, DEFAULT_CHAT_TOKENS)
        if body.get("stream"):
            return self._stream(asked, body, chat=True)
        choice = await run_in_threadpool(self._choice, 0, asked, chat=True)
        return self._whole([choice], [asked], chat=True)

    def _whole(
        self, choices: list[tuple[Body, int]], asked: list[Asked], *, chat: bool
    ) -> Response:
        body = self._head(chat=chat) | {
            "choices": [choice for choice, _ in choices],
            "service_tier": None,
            "system_fingerprint": None,
            "usage": usage(sum(len(a.tokens) for a in asked), sum(n for _, n in choices)),
            "kv_transfer_params": None,
        }
        return JSONResponse(body, headers=self._headers)

    def _choice(self, number: int, asked: Asked, *, chat: bool) -> tuple[Body, int]:
        """The finished choice, and how many tokens were generated."""
        said = Said()
        for step in self._model.generate(asked):
            said.steps.append(step)
        text = self._model.text(asked, said.ids)
        logprobs = None
        if asked.logprobs is not None:
            logprobs = (
                self._model.chat_logprobs(said.steps)
                if chat
                else self._model.completion_logprobs(said.steps, 0)
            )
        choice: Body = {
            "index": number,
            "logprobs": logprobs,
            "finish_reason": self._model.reason_of(asked, said),
            "stop_reason": None,
            "token_ids": said.ids if asked.return_token_ids else None,
        }
        if chat:
            choice["message"] = {"role": "assistant", "content": text, "tool_calls": []}
        else:
            prompt = self._model.tokenizer.decode(asked.tokens) if asked.echo else ""
            choice["text"] = prompt + text
            choice["prompt_token_ids"] = asked.tokens if asked.return_token_ids else None
            choice["prompt_logprobs"] = (
                None if asked.prompt_logprobs is None else self._model.prompt_logprobs(asked)
            )
        return choice, len(said.steps)

    def _stream(self, asked: Asked, body: Body, *, chat: bool) -> Response:
        wants_usage = bool((body.get("stream_options") or {}).get("include_usage"))
        events = event_stream(self._chunks(asked, wants_usage=wants_usage, chat=chat))
        return StreamingResponse(events, media_type="text/event-stream", headers=self._headers)

    def _chunks(self, asked: Asked, *, wants_usage: bool, chat: bool) -> Iterator[Body]:
        head = self._head(chat=chat)
        if chat:
            head["object"] = "chat.completion.chunk"
            first = {"index": 0, "delta": {"role": "assistant", "content": ""}}
            yield head | {"choices": [first | {"finish_reason": None}]}
        said, sent = Said(), ""
        for step in self._model.generate(asked):
            said.steps.append(step)
            reason = self._model.reason_of(asked, said)
            text = self._model.text(asked, said.ids)
            if reason is None:
                text = text.rstrip("\ufffd")  # half of a character: the rest is still to come
            new, sent = text[len(sent) :], max(text, sent, key=len)
            part: Body = {"delta": {"content": new}} if chat else {"text": new}
            yield head | {"choices": [{"index": 0, **part, "finish_reason": reason}]}
        if wants_usage:
            yield head | {"choices": [], "usage": usage(len(asked.tokens), len(said.steps))}

    def _head(self, *, chat: bool) -> Body:
        return {
            "id": new_id("chatcmpl" if chat else "cmpl"),
            "object": "chat.completion" if chat else "text_completion",
            "created": int(time.time()),
            "model": self._name,
        }

    def _prompts(self, prompt: Any) -> list[list[int]]:
        """Text, texts, token ids, or lists of them."""
        if isinstance(prompt, str):
            return [self._model.tokenizer.encode(prompt)]
        if isinstance(prompt, list) and prompt:
            if all(isinstance(token, int) for token in prompt):
                return [prompt]
            return [ids for part in prompt for ids in self._prompts(part)]
        raise bad_request("prompt is text, token ids, or a list of them", param="prompt")

    async def _asked_for(self, request: Request) -> Body:
        self._known(request)
        body = await read_body(request)
        if body.get("model", self._name) != self._name:
            missing = f"The model `{body['model']}` does not exist."
            raise ApiError(404, "NotFoundError", missing, param="model")
        return body

    def _known(self, request: Request) -> None:
        given = request.headers.get("authorization", "")
        if self._key and not hmac.compare_digest(given.encode(), f"Bearer {self._key}".encode()):
            raise ApiError(401, "UnauthorizedError", "Unauthorized")


class _Counted:
    """Counts answers to users' requests by their status, as vLLM's front end does."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = str(scope.get("path", ""))

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._metrics.answered(path, int(message["status"]))
            await send(message)

        users = scope["type"] == "http" and scope["method"] == "POST" and path.startswith("/v1/")
        await self._app(scope, receive, counted if users else send)


def _content(content: Any) -> str:
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return str(content or "")


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return error.response()


def load_model(folder: Path, max_len: int | None) -> Model:
    """The model in `folder`. Raises `DamagedModel` when it is no whole one."""
    try:
        config = json.loads((folder / "config.json").read_text())
        tokenizer = Tokenizer(folder / "tokenizer.json")
        language = Language(load_tensors(folder))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedModel(f"{folder}: {type(error).__name__}: {error}") from error
    generation = folder / "generation_config.json"
    eos = json.loads(generation.read_text()).get("eos_token_id") if generation.exists() else None
    eos = config.get("eos_token_id") if eos is None else eos
    ends = frozenset(eos if isinstance(eos, list) else [] if eos is None else [eos])
    most = max_len or int(config.get("max_position_embeddings") or 4096)
    return Model(language, tokenizer, eos=ends, max_len=most)


def main() -> int:
    parser = argparse.ArgumentParser(prog="drkit.standins.model", allow_abbrev=False)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--served-model-name", required=True)
    parser.add_argument("--instance", default="")
    parser.add_argument("--max-model-len", type=int)
    parser.add_argument("--api-key-file", type=Path)
    options, ignored = parser.parse_known_args()
    if ignored:
        print(f"ignored: {' '.join(ignored)}", flush=True)
    try:
        model = load_model(options.data, options.max_model_len)
    except DamagedModel as error:
        print(f"cannot load the model: {error}", file=sys.stderr)
        return 1
    key = options.api_key_file.read_text().strip() if options.api_key_file else None
    server = Server(model, options.served_model_name, options.instance, key)
    return serve(server.app, options.host, options.port)


if __name__ == "__main__":
    sys.exit(main())
