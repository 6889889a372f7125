"""YAML with line numbers: text to plain values, and back. The one importer of the YAML library.

What comes out is bounded and plain (dict, list, str, int, float, bool, None); every path into it
knows its line. Raises `YamlProblem` with the line for what is no YAML or is ambiguous.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError

MAX_NODES = 100_000
MAX_DEPTH = 40

Path = tuple[str | int, ...]


class YamlProblem(Exception):
    """`line` counts from 1; None when the parser does not say."""

    def __init__(self, line: int | None, text: str) -> None:
        super().__init__(text)
        self.line = line
        self.text = text


@dataclass(frozen=True, slots=True)
class Document:
    """`values` as plain types; `lines` from each path into them to the line it begins at."""

    values: Any
    lines: Mapping[Path, int]

    def line_of(self, path: Path) -> int:
        """The line of `path`, or of the nearest thing around it that was written down."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def parse(text: str) -> Document:
    """The document in `text`; an empty one has the value None."""
    yaml = YAML(typ="rt")
    yaml.allow_duplicate_keys = False
    try:
        root = yaml.load(text)
    except DuplicateKeyError as error:
        key = str(error.problem).split('"')[1:2] or ["a key"]
        first = _line(error.context_mark)
        raise YamlProblem(
            _line(error.problem_mark),
            f"`{key[0]}` is written twice in the mapping that begins at line {first}",
        ) from None
    except MarkedYAMLError as error:
        words = " ".join(part for part in (error.context, error.problem) if part)
        raise YamlProblem(_line(error.problem_mark or error.context_mark), words) from None
    except (YAMLError, RecursionError, ValueError) as error:
        raise YamlProblem(None, str(error).splitlines()[0]) from None
    lines: dict[Path, int] = {(): 1}
    return Document(_plain(root, (), lines, iter(range(MAX_NODES))), lines)


def dump(values: Mapping[str, Any]) -> str:
    """Block-style YAML of plain values, in their order."""
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.width = 1000
    stream = io.StringIO()
    yaml.dump(dict(values), stream)
    return stream.getvalue()


def _line(mark: Any) -> int | None:
    return None if mark is None else int(mark.line) + 1


def _plain(node: Any, path: Path, lines: dict[Path, int], budget: Iterator[int]) -> Any:
    if next(budget, None) is None or len(path) > MAX_DEPTH:
        raise YamlProblem(lines.get(path[:1]), "too large or too deep once aliases are resolved")
    if isinstance(node, CommentedMap):
        return _plain_mapping(node, path, lines, budget)
    if isinstance(node, CommentedSeq):
        items = []
        for index, item in enumerate(node):
            lines[(*path, index)] = _position(node, index, lines[path])
            items.append(_plain(item, (*path, index), lines, budget))
        return items
    if node is None or isinstance(node, bool):
        return node
    for kind in (str, int, float):
        if isinstance(node, kind):
            return kind(node)
    raise YamlProblem(
        lines.get(path), f"`{node}` is neither text nor a number; write text in quotes"
    )


def _plain_mapping(
    node: CommentedMap, path: Path, lines: dict[Path, int], budget: Iterator[int]
) -> dict[str, Any]:
    values = {}
    for key, value in node.items():
        line = _position(node, key, lines[path])
        if not isinstance(key, str):
            raise YamlProblem(line, f"the key `{key}` is not text; write it in quotes")
        lines[(*path, str(key))] = line
        values[str(key)] = _plain(value, (*path, str(key)), lines, budget)
    return values


def _position(node: CommentedMap | CommentedSeq, key: object, otherwise: int) -> int:
    """The line of `key`; a merged key (`<<`) has none of its own."""
    positions = node.lc.data
    if isinstance(positions, Mapping | Sequence) and key in positions:
        return int(positions[key][0]) + 1  # type: ignore[call-overload]
    return otherwise
