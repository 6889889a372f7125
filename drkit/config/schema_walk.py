"""Which model stands at a path of a document: for suggestions, and to tell tags from keys."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel

Path = tuple[str | int, ...]


def real_path(location: tuple[str | int, ...], values: Any) -> Path:
    """Where a pydantic error is in `values`: its location without the tags of `kind` unions."""
    path: list[str | int] = []
    node = values
    tag_taken = False
    for part in location:
        if part == "[key]":
            continue
        tags = (node.get("kind"), node.get("mode")) if isinstance(node, Mapping) else ()
        if part in tags and not tag_taken:
            tag_taken = True
            continue
        path.append(part)
        tag_taken = False
        node = _step(node, part)
    return tuple(path)


def value_at(path: Path, values: Any) -> Any:
    """What was written at `path`, or None."""
    for part in path:
        values = _step(values, part)
    return values


def keys_at(path: Path, values: Any, model: type[BaseModel]) -> tuple[str, ...]:
    """The keys that the mapping at `path` may have; () where any name is allowed."""
    chosen = _choose(_annotation_at(path, values, model), value_at(path, values))
    return tuple(chosen.model_fields) if _is_model(chosen) else ()


def kinds_at(path: Path, values: Any, model: type[BaseModel]) -> tuple[str, ...]:
    """What `kind` may be at `path`."""
    members = _members(_annotation_at(path, values, model))
    return tuple(dict.fromkeys(kind for member in members for kind in _kinds_of(member)))


def description_of(path: Path, values: Any, model: type[BaseModel]) -> str:
    """What the model says of the field at `path`, or nothing."""
    holder = _choose(_annotation_at(path[:-1], values, model), value_at(path[:-1], values))
    if not _is_model(holder) or path[-1] not in holder.model_fields:
        return ""
    return (holder.model_fields[str(path[-1])].description or "").rstrip(".")


def _annotation_at(path: Path, values: Any, model: type[BaseModel]) -> Any:
    annotation: Any = model
    for part in path:
        annotation = _inner(_choose(annotation, values), part)
        values = _step(values, part)
    return annotation


def _step(node: Any, part: str | int) -> Any:
    if isinstance(node, Mapping):
        return node.get(part)
    if isinstance(node, list) and isinstance(part, int) and part < len(node):
        return node[part]
    return None


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _members(annotation: Any) -> list[Any]:
    """What `annotation` may be, without wrappers, unions resolved, None left out."""
    origin = typing.get_origin(annotation)
    if origin is Annotated:
        return _members(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return [inner for member in typing.get_args(annotation) for inner in _members(member)]
    return [] if annotation is type(None) else [annotation]


def _choose(annotation: Any, node: Any) -> Any:
    """The one member of `annotation`, or the one that the `kind` written in `node` names."""
    members = _members(annotation)
    if len(members) == 1:
        return members[0]
    if not isinstance(node, Mapping):
        return None
    fits = [member for member in members if node.get("kind") in _kinds_of(member)]
    in_mode = [member for member in fits if node.get("mode") in _values_of(member, "mode")]
    return next(iter(in_mode or fits), None)


def _kinds_of(model: Any) -> tuple[str, ...]:
    return _values_of(model, "kind")


def _values_of(model: Any, name: str) -> tuple[str, ...]:
    """What the field `name` may be, where it is one of a few words."""
    field = model.model_fields.get(name) if _is_model(model) else None
    return typing.get_args(field.annotation) if field else ()


def _inner(annotation: Any, part: str | int) -> Any:
    """The annotation of what lies at `part` inside `annotation`."""
    if _is_model(annotation):
        field = annotation.model_fields.get(str(part))
        return field.annotation if field else None
    arguments = typing.get_args(annotation)
    if typing.get_origin(annotation) is dict:
        return arguments[1]
    if typing.get_origin(annotation) is tuple:
        return arguments[0]
    return None
