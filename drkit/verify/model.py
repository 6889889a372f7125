"""Which model answers? A fallback hides a dead target; the answer's name does not."""

from __future__ import annotations

import secrets

from drkit.errors import PlaceError
from drkit.http_client import call_json
from drkit.io_policy import PROBE_COMPLETION


def ask_gateway(url: str, model: str, api_key: str | None) -> str | None:
    """The model that names itself in an answer through the gateway (H5); None: nobody answered.

    The request names `model` and forbids the fallback; a gateway that does not know the header
    is still seen through, because the answer names who gave it.
    """
    return _ask(url, model, api_key, {"x-no-fallback": "1"})


def ask_as_user(url: str, model: str, api_key: str | None) -> str | None:
    """The model that answers users who ask for `model` there, whoever that is; None: nobody."""
    return _ask(url, model, api_key, {})


def _ask(url: str, model: str, api_key: str | None, headers: dict[str, str]) -> str | None:
    if api_key:
        headers["authorization"] = f"Bearer {api_key}"
    body = {
        "model": model,
        "messages": [{"role": "user", "content": f"ping {secrets.token_hex(4)}"}],
        "max_tokens": 1,
        "temperature": 0,
    }
    try:
        answer = call_json(
            url, "POST", "/v1/chat/completions", PROBE_COMPLETION, headers=headers, body=body
        )
        return str(answer["model"])
    except (PlaceError, KeyError, TypeError):
        return None
