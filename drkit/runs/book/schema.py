"""Runbooks: the documented procedure as data. No loops, no expressions, no shell."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from drkit.config.fields import Name, Strict
from drkit.config.load import load_with_lines
from drkit.config.places import Limits
from drkit.config.yaml_text import Document
from drkit.runs.book.references import REFERENCE, upstream

Phase = Literal["dns", "deploy", "restore", "verify", "other"]
OnFailure = Literal["stop", "rollback", "continue", "fallback", "ask"]
Approval = Literal["none", "operator"]
Mode = Literal["failover", "switchover", "failback", "drill", "restore"]
ActionName = Literal[
    "hold",
    "preflight",
    "acquire",
    "deploy",
    "fence",
    "point",
    "restore",
    "verify",
    "cutover",
    "verify_public",
    "observe",
    "commit",
    "verify_held",
    "record_hold",
    "fence_target",
    "final_point",
    "divergence",
    "restore_home",
    "swap_home",
    "release",
    "standby",
]
Value = str | bool | int | float


def _check_step_id(value: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", value):
        raise ValueError(
            "a step's id is lower-case letters, digits and _, and begins with a letter"
        )
    return value


StepId = Annotated[str, AfterValidator(_check_step_id)]


class Objectives(Strict):
    """What the run is measured against; it is reported, and kills nothing."""

    rto_min: float = Field(35, gt=0)
    rpo_min: float = Field(60, gt=0)


class Commit(Strict):
    """What happens once the target has been watched for `after_min` minutes."""

    policy: Literal["commit", "ask"] = "commit"
    after_min: float = Field(30, ge=0)


class NoRollback(Strict):
    """The step stays as it is when the run is rolled back."""

    none: str = Field(min_length=1, description="Why nothing has to be undone.")


class Step(Strict):
    """One part of the procedure. It starts when all of `needs` are done."""

    id: StepId
    phase: Phase
    action: ActionName
    with_: dict[str, Value] = Field({}, alias="with", description="The action's settings.")
    needs: tuple[StepId, ...] = ()
    budget_min: float | None = Field(None, gt=0, description="Its share of its phase's minutes.")
    timeout_s: float | None = Field(None, gt=0, description="Default: one and a half budgets.")
    retries: int = Field(0, ge=0, le=20)
    on_failure: OnFailure = Field(
        "stop",
        description="stop, ask: wait for an operator. rollback: undo what began. continue: go on "
        "without it. fallback: the next candidate, and rollback when there is none.",
    )
    rollback: NoRollback | None = Field(None, description="Default: what its action undoes.")
    approval: Approval = Field(
        "none", description="operator: a person has to agree before the step begins."
    )
    modes: tuple[Mode, ...] | None = Field(
        None,
        min_length=1,
        description="The kinds of run that execute it; default: the runbook's own, and drills.",
    )


class Runbook(Strict):
    """One scenario: what is lost, what is done, and how long it may take."""

    drkit: Literal[1] = Field(description="The version of this file's format.")
    name: Name
    kind: Mode
    service: str | None = Field(None, description="Default: the configuration's service.")
    lost: tuple[Name, ...] = Field(
        (), description="Sites that are gone; a failover, drill or restore names at least one."
    )
    targets: Objectives = Objectives()
    limits: Limits = Limits(usd_per_hour=None, usd_per_run=None)
    commit: Commit = Commit()
    notify: tuple[str, ...] = ()
    steps: tuple[Step, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _steps_fit(self) -> Runbook:
        problems = [*_misfits(self.steps)]
        if not self.lost and self.kind in ("failover", "drill", "restore"):
            problems.append((("lost",), f"a {self.kind} names the sites that are gone", ()))
        if problems:
            raise PydanticCustomError(
                "unresolved_names", "steps do not fit together", {"problems": problems}
            )
        return self


_Misfit = tuple[tuple[str | int, ...], str, tuple[str, ...]]


def _misfits(steps: tuple[Step, ...]) -> Iterator[_Misfit]:
    ids = [step.id for step in steps]
    needs = {step.id: step.needs for step in steps}
    for index, step in enumerate(steps):
        where = ("steps", index)
        if step.id in ids[:index]:
            yield (*where, "id"), f"`{step.id}` is the id of an earlier step too", ()
        for place, need in enumerate(step.needs):
            if need not in ids:
                yield (*where, "needs", place), f"`{need}` is no step", tuple(ids)
        before = upstream(step.id, needs)
        if step.id in before:
            yield (*where, "needs"), f"`{step.id}` waits for itself", ()
        yield from _bad_references(where, step.with_, before)


def _bad_references(
    where: tuple[str | int, ...], values: Mapping[str, Value], before: Iterable[str]
) -> Iterator[_Misfit]:
    for key, value in values.items():
        for written in re.findall(r"\$\{[^}]*\}?", str(value)):
            path = (*where, "with", key)
            match = REFERENCE.fullmatch(written)
            if match is None:
                known = "${target.FIELD}, ${steps.ID.OUTPUT} and ${secret:NAME} are"
                yield path, f"`{written}` is no reference: {known}", ()
            elif (step := match["step"]) is not None and step not in before:
                yield path, f"`{written}`: the step does not wait for `{step}`", tuple(before)


def load_runbook(path: Path) -> Runbook:
    """The runbook at `path`. Raises `ConfigError` with every problem: file, line, field, and what
    was probably meant.
    """
    return load_written(path)[0]


def load_written(path: Path) -> tuple[Runbook, Document]:
    """The runbook at `path`, and the document, which knows the line of every value."""
    return load_with_lines(
        path,
        Runbook,
        absent="`drkit runbook check` names those there are, in the folder `runbooks` of "
        "schedules.yaml",
        invalid="`drkit runbook schema` prints everything that is accepted",
    )


def runbook_schema() -> dict[str, Any]:
    """The JSON Schema of a runbook, for editors."""
    schema = Runbook.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
