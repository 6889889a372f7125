"""The small value types that every part of the configuration is written in."""

from __future__ import annotations

import re
from functools import cache
from typing import Annotated, Any, get_args, get_type_hints
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
)

from drkit.config.cron import parse_cron
from drkit.config.secret_forms import form_problem
from drkit.units import parse_bytes, parse_duration, write_duration

SECRET_SCHEMES = ("env", "file", "cmd", "vault", "aws-sm", "gcp-sm")
_SECRET = re.compile(rf"({'|'.join(SECRET_SCHEMES)}):.+", re.DOTALL)


class Strict(BaseModel):
    """A part of the configuration: frozen, and a key it does not know is an error.

    The modules of the parts do without `from __future__ import annotations`: pydantic would have to
    compile every annotation anew, in every command. A part that is only read as one of the whole
    never gets a validator of its own.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


def _check_secret_ref(value: Any) -> Any:
    references = value if isinstance(value, list | tuple) else [value]
    for reference in references:
        if not isinstance(reference, str) or not _SECRET.fullmatch(reference):
            raise ValueError(
                "a secret is written as a reference, never as its value: "
                "env:NAME, file:/path, cmd:COMMAND, vault:MOUNT/PATH#KEY, aws-sm:NAME, "
                "gcp-sm:projects/PROJECT/secrets/NAME, or a list of them that is tried in order"
            )
        if (problem := form_problem(reference)) is not None:
            raise ValueError(problem)
    return tuple(references)


def _check_duration(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("a duration is written as 30s, 15m, 1h30m or 30d")
    if isinstance(value, str):
        return parse_duration(value)
    raise ValueError(f"a duration needs its unit: {value}s, {value}m, {value}h or {value}d")


def _write_secret_ref(references: tuple[str, ...]) -> str | list[str]:
    return references[0] if len(references) == 1 else list(references)


SecretRef = Annotated[
    tuple[str, ...],
    BeforeValidator(_check_secret_ref, json_schema_input_type=str | list[str]),
    PlainSerializer(_write_secret_ref, return_type=str | list[str], when_used="json"),
    Field(description="Reference to a secret, or a list that is tried in order."),
]
"""One or more references, tried in order."""

Seconds = Annotated[
    float,
    BeforeValidator(_check_duration, json_schema_input_type=str),
    PlainSerializer(write_duration, return_type=str, when_used="json"),
    Field(description="Duration with its unit: 30s, 15m, 1h30m, 30d."),
]
"""A duration in seconds, written with its unit."""


def _check_bytes(value: Any) -> int:
    if isinstance(value, str):
        return parse_bytes(value)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise ValueError("a size is a number of bytes, or written as 64K, 10M, 2G or 1T")


ByteCount = Annotated[
    int,
    BeforeValidator(_check_bytes, json_schema_input_type=int | str),
    Field(description="A size: bytes, or 64K, 10M, 2G, 1T."),
]
"""A size in bytes; units are powers of 1024, as restic has them."""

LocalPath = Annotated[
    str,
    Field(
        min_length=1,
        description="On this machine; a relative one lies below this file's folder. ~ is home.",
    ),
]
"""A path on this machine; `drkit.config.local_paths` makes it absolute, by this type."""


@cache
def declared_as(model: type[BaseModel], kind: object) -> frozenset[str]:
    """The fields of `model` declared `kind` or `kind | None`: by type, not by how they look."""
    hints = get_type_hints(model, include_extras=True)
    return frozenset(
        name
        for name, hint in hints.items()
        if name in model.model_fields and (hint == kind or kind in get_args(hint))
    )


def _check_name(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,62}", value):
        raise ValueError(
            "a name is lower-case letters, digits, - and _, and starts with a letter or digit"
        )
    return value


def check_url(value: str) -> str:
    """`value`, if it is an http or https URL of a server; ValueError says what is wrong."""
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{value!r} is no URL of a server; write https://host or http://host:port")
    if parts.username is not None:
        raise ValueError("a URL here holds no user and no password")
    return value


Name = Annotated[str, AfterValidator(_check_name)]
"""What a store, source, site or target is called; it becomes a path and a tag."""


def _check_cron(value: str) -> str:
    parse_cron(value)
    return value


Cron = Annotated[str, AfterValidator(_check_cron)]
"""minute hour day month weekday, in UTC; 0 is Sunday."""
