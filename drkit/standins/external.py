"""An external API that serves users while there is no GPU, and names itself in every answer.

    python -m drkit.standins.external --host 127.0.0.1 --port 9100 --model claude-sonnet-4-5

Whatever model was asked for, the answer comes from --model and says so: that is how a check finds
out that a gateway fell back.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

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
from drkit.standins.serve import serve

ANSWER = "This answer comes from the external service, not from your own model."


class External:
    """The application; `model` is the name it gives itself."""

    def __init__(self, model: str) -> None:
        self._model = model
        self.app = Starlette(
            routes=[
                Route("/health", self._health),
                Route("/v1/models", self._models),
                Route("/v1/chat/completions", self._chat, methods=["POST"]),
                Route("/v1/completions", self._complete, methods=["POST"]),
            ],
            exception_handlers={ApiError: _refused},
        )

    async def _health(self, _request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def _models(self, _request: Request) -> Response:
        return JSONResponse(model_list([self._model]))

    async def _chat(self, request: Request) -> Response:
        body = await read_body(request)
        if not isinstance(body.get("messages"), list):
            raise bad_request("messages must be a list", param="messages")
        asked = sum(len(str(message).split()) for message in body["messages"])
        return self._answer(body, asked, chat=True)

    async def _complete(self, request: Request) -> Response:
        body = await read_body(request)
        return self._answer(body, len(str(body.get("prompt", "")).split()), chat=False)

    def _answer(self, body: Body, asked: int, *, chat: bool) -> Response:
        words = ANSWER.split(" ")
        most = body.get("max_tokens") or body.get("max_completion_tokens") or len(words)
        said = words[: max(1, int(most))]
        whole = len(said) == len(words)
        answer: Body = {
            "id": new_id("chatcmpl" if chat else "cmpl"),
            "created": int(time.time()),
            "model": self._model,
        }
        if body.get("stream"):
            chunks = self._chunks(answer, said, "stop" if whole else "length", chat=chat)
            return StreamingResponse(event_stream(chunks), media_type="text/event-stream")
        text = " ".join(said)
        content: Body = {"message": {"role": "assistant", "content": text}} if chat else {}
        choice = {
            "index": 0,
            **(content or {"text": text}),
            "logprobs": None,
            "finish_reason": "stop" if whole else "length",
        }
        kind = "chat.completion" if chat else "text_completion"
        done = {"object": kind, "choices": [choice], "usage": usage(asked, len(said))}
        return JSONResponse(answer | done)

    def _chunks(self, answer: Body, said: list[str], reason: str, *, chat: bool) -> Iterator[Body]:
        answer["object"] = "chat.completion.chunk" if chat else "text_completion"
        for position, word in enumerate(said):
            text = word if position == 0 else f" {word}"
            part: Body = {"delta": {"content": text}} if chat else {"text": text}
            end = reason if position == len(said) - 1 else None
            yield answer | {"choices": [{"index": 0, **part, "finish_reason": end}]}


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return error.response()


def main() -> int:
    parser = argparse.ArgumentParser(prog="drkit.standins.external")
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--model", required=True)
    options = parser.parse_args()
    return serve(External(options.model).app, options.host, options.port)


if __name__ == "__main__":
    sys.exit(main())
