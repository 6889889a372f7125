"""pydantic's errors in the words of who wrote the file: where, what, and what instead."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from drkit.config.schema_walk import (
    Path,
    description_of,
    keys_at,
    kinds_at,
    real_path,
    value_at,
)
from drkit.config.yaml_text import Document

MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Problem:
    """`field` is the dotted path; `suggestion` may be empty."""

    line: int
    field: str
    text: str
    suggestion: str = ""

    def __str__(self) -> str:
        where = f"{self.field}: " if self.field else ""
        return f"{where}{self.text}" + (f"; {self.suggestion}" if self.suggestion else "")


def problems_of(
    error: ValidationError, document: Document, model: type[BaseModel]
) -> list[Problem]:
    """Every problem of `error`, in the order of the file."""
    found = []
    for detail in error.errors(include_url=False):
        path = real_path(detail["loc"], document.values)
        found += _problems(detail["type"], path, detail, document, model)
    return sorted(found, key=lambda problem: (problem.line, problem.field))


def misplaced_booleans(validated: Any, written: Any, document: Document) -> list[Problem]:
    """`true` and `false` where a number is wanted, which would else pass as 1 and 0."""
    return list(_misplaced(validated, written, (), document))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A question with the nearest of `known`, or nothing."""
    close = difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.6)
    return f"did you mean `{close[0]}`?" if close else ""


def _problems(
    kind: str,
    path: Path,
    detail: Mapping[str, Any],
    document: Document,
    model: type[BaseModel],
) -> list[Problem]:
    context: Mapping[str, Any] = detail.get("ctx", {})
    values = document.values
    if kind == "unresolved_names":
        return [
            Problem(document.line_of(at), dotted(at), text, _nearest(str(value_at(at, values)), of))
            for at, text, of in context["problems"]
        ]
    if kind == "extra_forbidden":
        siblings = value_at(path[:-1], values)
        known = [key for key in keys_at(path[:-1], values, model) if key not in siblings]
        text, suggestion = "unknown key", _nearest(str(path[-1]), known)
    elif kind == "missing":
        text, suggestion = MISSING, description_of(path, values, model)
    elif kind in ("union_tag_invalid", "union_tag_not_found"):
        kinds = kinds_at(path, values, model)
        path = (*path, "kind")
        text, suggestion = MISSING, f"one of {', '.join(kinds)}"
        if "tag" in context:
            text, suggestion = (
                f"`{context['tag']}` is no kind of this",
                _nearest(str(context["tag"]), kinds),
            )
    elif kind == "literal_error":
        known = re.findall(r"'([^']+)'", str(context["expected"]))
        verb = " is not" if isinstance(detail["input"], str) else "; it must be"
        text = f"{_written(detail['input'])}{verb} {context['expected']}"
        suggestion = did_you_mean(str(detail["input"]), known)
    else:
        text, suggestion = _mismatch(kind, detail["input"], str(detail["msg"]), context)
    return [Problem(document.line_of(path), dotted(path), text, suggestion)]


def dotted(path: Path) -> str:
    """`targets.coreweave.candidates[1].gpu`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


_WANTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "model_type": "a mapping (key: value)",
    "model_attributes_type": "a mapping (key: value)",
    "dict_type": "a mapping (key: value)",
    "tuple_type": "a list",
    "list_type": "a list",
}


def _mismatch(kind: str, written: Any, message: str, context: Mapping[str, Any]) -> tuple[str, str]:
    if wanted := _WANTED.get(kind):
        text = f"{_written(written)}; {wanted} is wanted here"
        if wanted == "text" and isinstance(written, bool | int | float):
            shown = str(written).lower() if isinstance(written, bool) else str(written)
            return text, f'write it in quotes: "{shown}"'
        return text, ""
    if kind in ("greater_than", "greater_than_equal", "less_than", "less_than_equal"):
        (limit,) = [value for key, value in context.items() if key in ("gt", "ge", "lt", "le")]
        word = {"greater_than": "above", "less_than": "below"}.get(
            kind, "at least" if kind.startswith("greater") else "at most"
        )
        return f"{_written(written)}; it must be {word} {limit:g}", ""
    if kind == "too_short":
        return "is empty; at least one is wanted here", ""
    return message.removeprefix("Value error, "), ""


def _written(value: Any) -> str:
    """What stands in the file, in a few words and never a long value."""
    match value:
        case None:
            return "is empty"
        case bool():
            return f"`{str(value).lower()}` is true or false"
        case int() | float():
            return f"`{value}` is a number"
        case str():
            return f"`{value if len(value) <= 40 else value[:37] + '...'}`"
        case dict():
            return "is a mapping"
        case _:
            return "is a list"


def _nearest(word: str, known: Iterable[str]) -> str:
    known = list(known)
    if question := did_you_mean(word, known):
        return question
    return f"known here: {', '.join(known)}" if known else ""


def _misplaced(validated: Any, written: Any, path: Path, document: Document) -> Iterable[Problem]:
    if isinstance(written, bool):
        if isinstance(validated, int | float) and not isinstance(validated, bool):
            text = f"{_written(written)}; a number is wanted here"
            yield Problem(document.line_of(path), dotted(path), text)
    elif isinstance(written, Mapping):
        for key, value in written.items():
            named = isinstance(validated, Mapping)
            inner = validated.get(key) if named else getattr(validated, key, None)
            yield from _misplaced(inner, value, (*path, key), document)
    elif isinstance(written, list) and isinstance(validated, tuple | list):
        for index, (value, inner) in enumerate(zip(written, validated, strict=False)):
            yield from _misplaced(inner, value, (*path, index), document)
