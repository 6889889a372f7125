"""`drkit runbook`: is it right, what does it look like, what would it do now, and do it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from drkit.cli.options import BreakGlass, command
from drkit.cli.session import Session
from drkit.errors import ConfigError

if TYPE_CHECKING:
    from drkit.config.models import Config
    from drkit.operations.readiness.check_runbooks import Checked

app = typer.Typer(no_args_is_help=True, help="The procedures in the folder `runbooks`.")

Name = Annotated[str, typer.Argument(help="A file in the folder `runbooks`, without .yaml.")]
To = Annotated[str | None, typer.Option("--to", help="The target; default: the first one.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


@command(app)
def check(
    session: Session,
    names: Annotated[list[str] | None, typer.Argument(help="Runbooks; default: all.")] = None,
) -> int:
    """Proves runbooks before they are needed; 2 when one may not be relied on."""
    found = checked(session, session.load_config(), names or [])
    if not found:
        raise ConfigError(
            f"no runbook lies in {_folder(session, session.load_config())}",
            hint="copy those of the project there, or name their folder: `runbooks` in the file",
        )
    _tell(session, found, "note" if session.verbosity > 0 or session.json_lines else "warn")
    for one in found:
        session.terminal.result("runbook", _checked_values(one), _verdict(one))
    return 2 if any(one.refused for one in found) else 0


@command(app)
def show(session: Session, name: Name) -> None:
    """Draws the steps of a runbook, with phases, budgets and the longest way."""
    from drkit.runs.book.critical_path import critical_path, draw
    from drkit.runs.book.schema import load_runbook

    book = load_runbook(_folder(session, session.load_config()) / f"{name}.yaml")
    path = critical_path(book.steps)
    slack = path.slack_min(book.targets.rto_min)
    budgets = {
        phase: sum(step.budget_min or 0 for step in book.steps if step.phase == phase)
        for phase in dict.fromkeys(step.phase for step in book.steps)
    }
    lines = [f"{book.name}: {book.kind}" + (f", lost: {', '.join(book.lost)}" if book.lost else "")]
    said = ", ".join(f"{phase} {minutes:g}" for phase, minutes in budgets.items() if minutes)
    lines += [f"  minutes by phase: {said or 'no budgets'}"]
    lines += [
        f"  longest way: {' - '.join(path.steps) or 'none'}: {path.minutes:g} of "
        f"{book.targets.rto_min:g} min, slack {slack:g}",
        "",
        *draw(book.steps, path),
    ]
    values: dict[str, Any] = {
        "runbook": book.model_dump(mode="json", by_alias=True),
        "phases": budgets,
        "critical_path": list(path.steps),
        "critical_path_min": path.minutes,
        "slack_min": slack,
    }
    session.terminal.result("runbook", values, "\n".join(lines))


@command(app)
def plan(session: Session, name: Name, to: To = None) -> None:
    """Shows exactly what would be executed now, what it may cost, and each step by hand."""
    from drkit.cli.apps import opened
    from drkit.cli.runs.planning import plan_named, show_plan

    with opened(session, parts=()) as opened_app:
        show_plan(session, opened_app.config, plan_named(opened_app, name, to=to))


@command(app, changes=True)
def run(
    session: Session,
    name: Name,
    to: To = None,
    yes: Yes = False,
    break_glass: BreakGlass = False,
) -> int:
    """Executes a runbook as what it is; `failover` and `failback` are the shorthands."""
    from drkit.cli.runs.executing import execute_named

    return execute_named(session, name, to=to, yes=yes, break_glass=break_glass)


@command(app)
def schema(session: Session) -> None:
    """Prints the JSON Schema of a runbook, for editors."""
    import json

    from drkit.runs.book.schema import runbook_schema

    values = runbook_schema()
    session.terminal.result("runbook_schema", {"schema": values}, json.dumps(values, indent=2))


def checked(session: Session, config: Config, names: list[str]) -> list[Checked]:
    """The runbooks, checked against the deployment as it is written."""
    from drkit.operations.readiness.check_runbooks import check_runbooks
    from drkit.runs.actions.catalog import ACTIONS
    from drkit.wiring.lint_facts import known_of

    return check_runbooks(
        _folder(session, config),
        names,
        config=config,
        config_path=session.config_path,
        actions=ACTIONS,
        known=known_of(config, session.root),
    )


def refusals(session: Session, found: list[Checked]) -> int:
    """Tells the findings that refuse; 2 if there are some, else 0."""
    _tell(session, found, "refuse")
    return 2 if any(one.refused for one in found) else 0


def tell_missing(session: Session, config: Config, found: list[Checked]) -> int:
    """Tells what no runbook could serve; how much that is."""
    from drkit.operations.readiness.check_runbooks import missing_runbooks

    missing = missing_runbooks(config, session.config_path, [one.name for one in found])
    for finding in missing:
        session.terminal.result("finding", _finding_values("", finding), _words(finding))
    return len(missing)


_GRAVE = ("refuse", "warn", "note")


def _tell(session: Session, found: list[Checked], least: str) -> None:
    """The findings that are as grave as `least`, or graver; those of several runbooks once."""
    told: set[str] = set()
    for one in found:
        for finding in one.findings:
            words = _words(finding)
            grave = _GRAVE.index(finding.level) <= _GRAVE.index(least)
            if grave and (session.json_lines or words not in told):
                session.terminal.result("finding", _finding_values(one.name, finding), words)
                told.add(words)


def _folder(session: Session, config: Config) -> Path:
    """Where the runbooks lie; as it is written, where that is what people see."""
    from drkit.config.local_paths import with_absolute_paths

    written = session.config_path.parent / config.runbooks
    absolute = Path(with_absolute_paths(config, session.root).runbooks)
    return written if written.resolve() == absolute.resolve() else absolute


def _words(finding: Any) -> str:
    level = {"refuse": "REFUSED", "warn": "warning", "note": "note"}[finding.level]
    return f"{level}: {finding}"


def _finding_values(runbook: str, finding: Any) -> dict[str, Any]:
    return {
        "runbook": runbook,
        "lint": finding.lint,
        "level": finding.level,
        "file": str(finding.file),
        "line": finding.line,
        "field": finding.field,
        "text": finding.text,
        "instead": finding.instead,
    }


def _checked_values(one: Checked) -> dict[str, Any]:
    path, book = one.path, one.runbook
    return {
        "name": one.name,
        "kind": book.kind if book else None,
        "refused": one.refused,
        "refusals": sum(finding.level == "refuse" for finding in one.findings),
        "warnings": sum(finding.level == "warn" for finding in one.findings),
        "critical_path": list(path.steps) if path else [],
        "critical_path_min": path.minutes if path else None,
        "slack_min": path.slack_min(book.targets.rto_min) if path and book else None,
    }


def _verdict(one: Checked) -> str:
    values = _checked_values(one)
    if one.path is None or one.runbook is None:
        return f"{one.name}: REFUSED: it cannot be read"
    way = " - ".join(one.path.steps)
    said = "REFUSED" if one.refused else "right"
    many = values["warnings"]
    warned = f", {many} warning{'s' * (many > 1)}" if many else ""
    return (
        f"{one.name}: {said}{warned}; longest way {one.path.minutes:g} of "
        f"{one.runbook.targets.rto_min:g} min, slack {values['slack_min']:g}: {way}"
    )
