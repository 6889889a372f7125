"""Which secrets a part of the configuration refers to. Pure: nothing is looked up here."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from pydantic import BaseModel

from drkit.config.fields import SecretRef, declared_as
from drkit.errors import MissingCredential

Reference = tuple[str, ...]
Found = tuple[str, Reference]
"""Dotted field path, and the references that are tried in order."""


def references(
    part: BaseModel, *, at: str = "", only: Collection[str] | None = None
) -> list[Found]:
    """Every secret reference in `part`, in the order of its fields.

    `at` is the path of `part` itself ("stores.gcs"). `only` keeps what lies at or below these
    paths: `references(config, only=["stores", "repository", "targets.coreweave"])`.
    """
    found = list(_walk(part, at))
    if only is None:
        return found
    return [
        (path, reference)
        for path, reference in found
        if any(path == wanted or path.startswith(f"{wanted}.") for wanted in only)
    ]


def check_references(found: Sequence[Found], missing: Callable[[Reference], str | None]) -> None:
    """Raises `MissingCredential` naming every field whose secret `missing` cannot find.

    `missing` says where it was looked for, or None: `Secrets.missing`.
    """
    lacking = [
        (path, looked) for path, reference in found if (looked := missing(reference)) is not None
    ]
    if lacking:
        word = "a credential is" if len(lacking) == 1 else f"{len(lacking)} credentials are"
        lines = "".join(f"\n  {path}: {looked}" for path, looked in lacking)
        raise MissingCredential(
            f"{word} missing:{lines}",
            hint="set it where it is looked for, or rehearse without credentials: add --sandbox",
        )


def _walk(value: object, path: str) -> Iterator[Found]:
    if isinstance(value, BaseModel):
        secret_fields = declared_as(type(value), SecretRef)
        for field in type(value).model_fields:
            below = f"{path}.{field}" if path else field
            inner = getattr(value, field)
            if field not in secret_fields:
                yield from _walk(inner, below)
            elif inner is not None:
                yield below, inner
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _walk(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, tuple | list):
        for position, inner in enumerate(value):
            yield from _walk(inner, f"{path}.{position}")
