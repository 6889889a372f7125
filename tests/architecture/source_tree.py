"""The package's modules and what each imports, read from the text and not by importing it."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
PACKAGE = PROJECT / "drkit"


@cache
def modules() -> tuple[str, ...]:
    """Every module as a path from the project's folder: `drkit/stores/folder.py`."""
    return tuple(sorted(str(path.relative_to(PROJECT)) for path in PACKAGE.rglob("*.py")))


@cache
def parsed(module: str) -> ast.Module:
    return ast.parse((PROJECT / module).read_text(), module)


def imports(module: str) -> Iterator[tuple[str, bool]]:
    """(dotted name, at the top of the module) of everything it imports at run time."""
    tree = parsed(module)
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node in tree.body
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                yield f"{node.module}.{alias.name}", node in tree.body


def third_party(module: str) -> set[str]:
    """The libraries that it imports, by their top-level names."""
    names = {name.partition(".")[0] for name, _ in imports(module)}
    return names - set(sys.stdlib_module_names) - {"drkit", "__future__"}


def file_of(name: str) -> str | None:
    """The module file that the dotted `name`, or what holds it, stands in."""
    parts = name.split(".")
    if parts[0] != "drkit" or len(parts) < 2:
        return None
    for count in (len(parts), len(parts) - 1):
        path = Path(*parts[:count])
        for candidate in (path.with_suffix(".py"), path / "__init__.py"):
            if (PROJECT / candidate).is_file():
                return str(candidate)
    return None
