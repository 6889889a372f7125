"""schedules.yaml to a `Config`, or every problem in it at once; back to YAML; its schema."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from drkit.config.models import Config
from drkit.config.problems import Problem, misplaced_booleans, problems_of
from drkit.config.yaml_text import Document, YamlProblem, dump, parse
from drkit.errors import ConfigError

MAX_BYTES = 4 * 1024 * 1024

Model = TypeVar("Model", bound=BaseModel)


class InvalidDocument(ConfigError):
    """A file that people write is not what it must be; `problems` in the order of its lines."""

    def __init__(self, path: Path, problems: Sequence[Problem], *, hint: str) -> None:
        lines = [f"{path}:{problem.line}: {problem}" for problem in problems]
        count = f"{len(lines)} problems in {path}\n  " if len(lines) > 1 else ""
        super().__init__(count + "\n  ".join(lines), hint=hint)
        self.path = path
        self.problems = tuple(problems)


def load_config(path: Path) -> Config:
    """The deployment that `path` describes. Raises `ConfigError`; secrets are not resolved."""
    return load_document(
        path,
        Config,
        absent="`drkit init` writes one by dialogue, --config PATH names another, "
        "and --sandbox rehearses with one of its own",
        invalid="`drkit config schema` prints everything that is accepted",
    )


def load_document(path: Path, model: type[Model], *, absent: str, invalid: str) -> Model:
    """The YAML file at `path` as a `model`; the texts are the hints for no file and a wrong one.

    Raises `InvalidDocument` with all problems, or `ConfigError` when there is nothing to read.
    """
    return load_with_lines(path, model, absent=absent, invalid=invalid)[0]


def load_with_lines(
    path: Path, model: type[Model], *, absent: str, invalid: str
) -> tuple[Model, Document]:
    """As `load_document`, and the document, which knows the line of every value."""
    text = _read(path, absent)
    try:
        document = parse(text)
    except YamlProblem as problem:
        found = Problem(problem.line or 1, "", problem.text)
        tab = "'\\t'" in problem.text
        hint = "indent with spaces: YAML knows no tabs" if tab else "mend the YAML at this line"
        raise InvalidDocument(path, [found], hint=hint) from None
    if document.values is None:
        raise ConfigError(f"{path} is empty", hint=absent)
    validated, problems = _validate(document, model)
    if problems or validated is None:
        raise InvalidDocument(path, problems, hint=invalid)
    return validated, document


def render_config(config: Config) -> str:
    """YAML that loads to an equal `Config`, with every default written out."""
    return dump(config.model_dump(mode="json"))


def shown_values(config: Config) -> dict[str, Any]:
    """The deployment for people to see: a password that someone wrote into a URL is hidden."""
    values: dict[str, Any] = _hidden(config.model_dump(mode="json"))
    return values


def render_shown(config: Config) -> str:
    """`shown_values` as YAML."""
    return dump(shown_values(config))


def config_schema() -> dict[str, Any]:
    """The JSON Schema of schedules.yaml, for editors."""
    schema = Config.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


_IN_URL = re.compile(r"(?<=://)([^/@\s:]*):[^/@\s]+@")


def _hidden(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _hidden(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_hidden(inner) for inner in value]
    return _IN_URL.sub(r"\1:***@", value) if isinstance(value, str) else value


def _read(path: Path, absent: str) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(f"there is no {path}", hint=absent) from None
    except OSError as error:
        why = error.strerror or error
        raise ConfigError(f"{path} cannot be read: {why}", hint="check its mode and kind") from None
    if len(data) > MAX_BYTES:
        raise ConfigError(
            f"{path} is larger than {MAX_BYTES >> 20} MiB", hint="is this the file you meant?"
        )
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: not UTF-8", hint="save the file as UTF-8") from None


def _validate(document: Document, model: type[Model]) -> tuple[Model | None, list[Problem]]:
    try:
        validated = model.model_validate(document.values)
    except ValidationError as error:
        return None, problems_of(error, document, model)
    return validated, misplaced_booleans(validated, document.values, document)
