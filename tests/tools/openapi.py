"""A published API description (OpenAPI 3.0, JSON): does a request, or an answer, fit it?

As much of JSON Schema as such descriptions use. What a request holds beyond its schema is a
problem, since a server may leave it unread; what an answer holds beyond it is not.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote

Json = dict[str, Any]

_TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
}


@dataclass(frozen=True)
class PublishedApi:
    """`spec` as it was published."""

    spec: Json

    @classmethod
    def read(cls, path: Path) -> PublishedApi:
        return cls(json.loads(path.read_bytes()))

    def operation(self, method: str, path: str) -> tuple[Json, dict[str, str]] | None:
        """The operation and its path parameters: of those that fit, the most literal one."""
        given = path.split("?")[0].split("/")
        fits: list[tuple[int, Json, dict[str, str]]] = []
        for template, operations in self.spec["paths"].items():
            parts = template.split("/")
            if len(parts) != len(given) or method.lower() not in operations:
                continue
            pairs = list(zip(parts, given, strict=True))
            if all(part == value or part.startswith("{") for part, value in pairs):
                filled = {part[1:-1]: unquote(value) for part, value in pairs if part[:1] == "{"}
                literal = sum(part == value for part, value in pairs)
                fits.append((literal, operations[method.lower()], filled))
        return max(fits, key=lambda fit: fit[0])[1:] if fits else None

    def request_problems(
        self, method: str, target: str, *, kind: str | None, body: object
    ) -> list[str]:
        """What of a request does not fit. `kind`: the content type of `body`, None without one."""
        found = self.operation(method, target)
        if found is None:
            return [f"there is no {method} {target}"]
        operation, filled = found
        query = dict(parse_qsl(target.partition("?")[2], keep_blank_values=True))
        given = {"path": filled, "query": query}
        problems = []
        known: dict[str, set[str]] = {"path": set(), "query": set()}
        for parameter in operation.get("parameters", []):
            place, name = parameter["in"], parameter["name"]
            if place not in given:
                continue
            known[place].add(name)
            if name in given[place]:
                value = _parsed(given[place][name], self._resolved(parameter["schema"]))
                if problem := self.mismatch(value, parameter["schema"], at=name, closed=True):
                    problems.append(problem)
            elif parameter.get("required"):
                problems.append(f"the {place} parameter {name} is missing")
        problems += [f"{name} is no query parameter" for name in set(query) - known["query"]]
        offered = operation.get("requestBody", {}).get("content", {})
        if kind is None:
            return problems + (["a body is wanted"] if offered else [])
        if kind not in offered:
            return [*problems, f"a body of {kind} is not taken here"]
        problem = self.mismatch(body, offered[kind]["schema"], at="body", closed=True)
        return [*problems, *([problem] if problem else [])]

    def answer_problem(self, method: str, path: str, status: int, value: object) -> str | None:
        """Where a JSON answer does not have the described shape; None if it has."""
        found = self.operation(method, path)
        if found is None:
            return f"there is no {method} {path}"
        responses = found[0]["responses"]
        shape = responses.get(str(status)) or responses.get("4XX" if status < 500 else "5XX")
        if shape is None:
            return f"{status} is no answer to {method} {path}"
        content = shape.get("content", {}).get("application/json")
        return self.mismatch(value, content["schema"]) if content else None

    def mismatch(
        self, value: object, schema: Json, at: str = "", *, closed: bool = False
    ) -> str | None:
        """Where `value` does not have the shape; None if it has. `closed`: no unknown keys."""
        schema = self._resolved(schema)
        if value is None and schema.get("nullable"):
            return None
        if choices := schema.get("anyOf") or schema.get("oneOf"):
            found = [self.mismatch(value, choice, at, closed=closed) for choice in choices]
            return None if None in found else f"{at}: none of {found}"
        if "enum" in schema and value not in schema["enum"]:
            return f"{at}: {value!r} is none of {schema['enum']}"
        kind = schema.get("type")
        if kind and not _is(value, kind):
            return f"{at}: {value!r} is no {kind}"
        if isinstance(value, int | float) and value < schema.get("minimum", value):
            return f"{at}: {value!r} is less than {schema['minimum']}"
        if isinstance(value, dict):
            return self._object_mismatch(value, schema, at, closed)
        if isinstance(value, list):
            for number, item in enumerate(value):
                inner = schema.get("items", {})
                if problem := self.mismatch(item, inner, f"{at}/{number}", closed=closed):
                    return problem
        return None

    def _object_mismatch(self, value: Json, schema: Json, at: str, closed: bool) -> str | None:
        if lacking := set(schema.get("required", ())) - set(value):
            return f"{at}: lacks {sorted(lacking)}"
        named, more = schema.get("properties", {}), schema.get("additionalProperties")
        free = more is not None and more is not False
        unknown = set(value) - set(named)
        if closed and named and unknown and not free:
            return f"{at}: {sorted(unknown)} is unknown"
        for key, item in value.items():
            inner = named.get(key, more if isinstance(more, dict) else {})
            if problem := self.mismatch(item, inner, f"{at}/{key}", closed=closed):
                return problem
        return None

    def _resolved(self, schema: Json) -> Json:
        while "$ref" in schema:
            schema = self.spec["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        return schema


def _is(value: object, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, _TYPES[kind])


def _parsed(text: str, schema: Json) -> object:
    """A parameter's text as what its schema says it is; the text itself when it is no such."""
    if schema.get("type") in ("integer", "boolean", "number"):
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text
