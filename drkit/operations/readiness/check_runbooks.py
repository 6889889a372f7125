"""Checks runbooks against the deployment: each finding with its file, line and field."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from drkit.config.load import InvalidDocument
from drkit.config.models import Config
from drkit.config.problems import dotted
from drkit.config.yaml_text import Document, YamlProblem, parse
from drkit.errors import ConfigError
from drkit.operations.watch.decide import COLD, decided_runbook
from drkit.runs.actions.interface import Action
from drkit.runs.book.critical_path import CriticalPath, critical_path
from drkit.runs.book.schema import Runbook, load_written
from drkit.runs.lints.check import check_runbook
from drkit.runs.lints.values import Finding, Known, Level

STRUCTURE = "structure"
"""The lint of what cannot be read as a runbook: cycles, ids, unknown actions and keys."""


@dataclass(frozen=True, slots=True)
class Located:
    """A finding where it stands. `line` 0: it has no line of its own."""

    lint: str
    level: Level
    file: Path
    line: int
    field: str
    text: str
    instead: str

    def __str__(self) -> str:
        at = f"{self.file}:{self.line}" if self.line else str(self.file)
        field = f"{self.field}: " if self.field else ""
        instead = f"; {self.instead}" if self.instead else ""
        return f"{at}: {field}{self.text}{instead} [{self.lint}]"


@dataclass(frozen=True, slots=True)
class Checked:
    """One runbook. `runbook` and `path` are None when it cannot be read as one."""

    name: str
    runbook: Runbook | None
    path: CriticalPath | None
    findings: tuple[Located, ...]

    @property
    def refused(self) -> bool:
        return any(finding.level == "refuse" for finding in self.findings)


def runbook_names(folder: Path, wanted: Sequence[str] = ()) -> tuple[str, ...]:
    """The runbooks in the folder, or those that are wanted. ConfigError for one that is not."""
    there = tuple(path.stem for path in sorted(folder.glob("*.yaml")))
    for name in wanted:
        if name not in there:
            raise ConfigError(
                f"there is no runbook {name!r} in {folder}",
                hint=f"there are {', '.join(there) or 'none'}",
            )
    return tuple(wanted) or there


def check_runbooks(
    folder: Path,
    wanted: Sequence[str],
    *,
    config: Config,
    config_path: Path,
    actions: Mapping[str, Action],
    known: Callable[[str], Known],
) -> list[Checked]:
    """All wanted runbooks (default: every one in the folder), in the order of their names.

    `known(name)` says what neither file does. Raises `ConfigError` for a name that is none.
    """
    lines = _lines_of(config_path)
    return [
        _check(folder / f"{name}.yaml", name, config, config_path, lines, actions, known)
        for name in runbook_names(folder, wanted)
    ]


def _check(
    path: Path,
    name: str,
    config: Config,
    config_path: Path,
    lines: Document | None,
    actions: Mapping[str, Action],
    known: Callable[[str], Known],
) -> Checked:
    try:
        runbook, document = load_written(path)
    except InvalidDocument as error:
        found = tuple(
            Located(STRUCTURE, "refuse", path, each.line, each.field, each.text, each.suggestion)
            for each in error.problems
        )
        return Checked(name, None, None, found)
    except ConfigError as error:
        one = Located(STRUCTURE, "refuse", path, 0, "", error.message, error.hint)
        return Checked(name, None, None, (one,))
    findings = check_runbook(runbook, config, actions, known(name))

    def locate(finding: Finding) -> Located:
        file, where = (config_path, lines) if finding.in_config else (path, document)
        line = where.line_of(finding.at) if where and finding.at else 0
        return Located(
            finding.lint,
            finding.level,
            file,
            line,
            dotted(finding.at),
            finding.text,
            finding.instead,
        )

    return Checked(
        name, runbook, critical_path(runbook.steps), tuple(locate(each) for each in findings)
    )


def missing_runbooks(
    config: Config, config_path: Path, there: Sequence[str]
) -> tuple[Located, ...]:
    """What the deployment names and no runbook that is `there` could serve, as warnings: found out
    now, and not in the night in which it is needed.
    """
    lines = _lines_of(config_path)

    def located(at: tuple[str, ...], text: str, instead: str) -> Located:
        line = lines.line_of(at) if lines else 0
        return Located("runbooks", "warn", config_path, line, dotted(at), text, instead)

    found = [
        located(
            ("schedules", name),
            f"this drill goes by the runbook {COLD}, and there is none in {config.runbooks}",
            "put it there, or leave the drill out",
        )
        for name, job in config.schedules.items()
        if job.run == "run-drill" and COLD not in there
    ]
    decided = decided_runbook(config)
    if config.targets and decided not in there:
        at = ("decide", "runbook") if config.decide.runbook is not None else ("targets",)
        text = f"a decision goes by the runbook {decided}, and there is none in {config.runbooks}"
        found.append(located(at, text, "put it there, or name one that is: decide.runbook"))
    return tuple(found)


def _lines_of(path: Path) -> Document | None:
    """The lines of the configuration; None when the file was changed under our eyes."""
    try:
        return parse(path.read_text())
    except (OSError, UnicodeDecodeError, YamlProblem):
        return None
