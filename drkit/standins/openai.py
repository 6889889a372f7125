"""Shapes that every OpenAI-compatible server answers with: errors, streams, ids."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse

Body = dict[str, Any]
_numbers = itertools.count(1)


class ApiError(Exception):
    """A refusal in the API's own shape."""

    def __init__(self, status: int, kind: str, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.message = message
        self.param = param

    def response(self) -> JSONResponse:
        error = {
            "message": self.message,
            "type": self.kind,
            "param": self.param,
            "code": self.status,
        }
        return JSONResponse({"error": error}, self.status)


def bad_request(message: str, *, param: str | None = None) -> ApiError:
    return ApiError(400, "BadRequestError", message, param=param)


async def read_body(request: Request) -> Body:
    """The JSON object that was sent. Raises `ApiError` (400) for anything else."""
    try:
        body = json.loads(await request.body())
    except ValueError as error:
        raise bad_request(f"the body is no JSON: {error}") from error
    if not isinstance(body, dict):
        raise bad_request("the body must be a JSON object")
    return body


def new_id(prefix: str) -> str:
    """ "cmpl-..." or "chatcmpl-...": different for every answer of this process."""
    return f"{prefix}-{time.time_ns():x}{next(_numbers):04x}"


def usage(prompt_tokens: int, completion_tokens: int) -> Body:
    return {
        "prompt_tokens": prompt_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "completion_tokens": completion_tokens,
        "prompt_tokens_details": None,
    }


def event_stream(chunks: Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
    """Server-sent events, ended by [DONE]."""
    for chunk in chunks:
        yield b"data: " + json.dumps(chunk, separators=(",", ":")).encode() + b"\n\n"
    yield b"data: [DONE]\n\n"


def model_list(names: Iterable[str], **more: Any) -> Body:
    """What GET /v1/models answers."""
    models = [
        {"id": name, "object": "model", "created": int(time.time()), "owned_by": "drkit", **more}
        for name in names
    ]
    return {"object": "list", "data": models}
