"""A plan: a runbook for one target, frozen, with a checksum; exactly this is executed (R6)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Protocol, get_args

from drkit import __version__
from drkit.config.models import Config
from drkit.config.places import Limits, Target
from drkit.errors import ConfigError, GuardRefused, NotInThisVersion
from drkit.runs.records import JSON, Effect, Namespace, RunKind
from drkit.runs.references import fill_target, names_secret
from drkit.runs.schema import Approval, OnFailure, Phase, Runbook, Step

DEFAULT_TIMEOUT_S = 600.0
_SINCE_0_1_0 = frozenset({"approval"})


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """`skip`: why this run does not execute it; None if it does. `keep`: why it is not undone.

    `approval`: "operator" when a person has to agree before it begins.
    """

    id: str
    phase: Phase
    action: str
    version: int
    effect: Effect
    arguments: Mapping[str, JSON]
    needs: tuple[str, ...]
    budget_min: float | None
    timeout_s: float
    retries: int
    on_failure: OnFailure
    skip: str | None
    keep: str | None
    approval: Approval = "none"


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be done, where, within which limits. `usd_per_run` None: a drill buys nothing."""

    runbook: str
    kind: RunKind
    namespace: Namespace
    service: str
    primary: str
    target: str
    lost: tuple[str, ...]
    point: str
    rto_min: float
    rpo_min: float
    usd_per_hour: float | None
    usd_per_run: float | None
    ttl_min: float
    commit_policy: str
    commit_after_min: float
    drkit_version: str
    steps: tuple[PlannedStep, ...]

    @property
    def service_key(self) -> str:
        """The service's name on the arbiter; a drill has its own (R11)."""
        return self.service if self.namespace == "production" else f"{self.service}/drill"

    @property
    def checksum(self) -> str:
        """SHA-256 of the canonical JSON, in hex."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def step(self, step_id: str) -> PlannedStep:
        """The step of that id. KeyError."""
        for step in self.steps:
            if step.id == step_id:
                return step
        raise KeyError(step_id)

    def to_json(self) -> str:
        """Canonical: sorted keys, no spaces, so that equal plans have equal checksums."""
        values = asdict(self)
        for step in values["steps"]:
            step["effect"] = step["effect"].value
            # What plans of 0.1.0 did not say is left out where it is as it was then, so that
            # their checksums stay theirs.
            if step["approval"] == "none":
                del step["approval"]
        return json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """The plan that `to_json` wrote. ValueError, KeyError or TypeError if it is none."""
        values: dict[str, Any] = json.loads(text)
        steps = tuple(_step_from(step) for step in values.pop("steps"))
        return cls(**{**values, "lost": tuple(values["lost"]), "steps": steps})


def _step_from(values: dict[str, Any]) -> PlannedStep:
    """ValueError for a field this version does not know, or lacks: it would not be obeyed (R6)."""
    known = {field.name for field in fields(PlannedStep)}
    if not known - _SINCE_0_1_0 <= set(values) <= known:
        raise ValueError(f"a planned step has other fields: {sorted(set(values) ^ known)}")
    if values.get("approval", "none") not in get_args(Approval):
        raise ValueError(f"a planned step has approval {values['approval']!r}")
    return PlannedStep(
        **{**values, "needs": tuple(values["needs"]), "effect": Effect(values["effect"])}
    )


class ActionFacts(Protocol):
    """What a plan freezes of an action."""

    @property
    def version(self) -> int: ...

    @property
    def effect(self) -> Effect: ...


def make_plan(
    runbook: Runbook,
    *,
    config: Config,
    kind: RunKind,
    target: str,
    actions: Mapping[str, ActionFacts],
    point: str = "latest",
) -> Plan:
    """The runbook for this target and kind of run. Pure.

    Raises `ConfigError` for what does not fit the configuration, and `NotInThisVersion`.
    """
    service = config.service
    if service is None:
        raise ConfigError(
            "schedules.yaml describes no service to bring up", hint="add its `service` section"
        )
    if runbook.service not in (None, service.name):
        raise ConfigError(
            f"runbook {runbook.name} is for the service {runbook.service!r}, "
            f"and schedules.yaml describes {service.name!r}",
            hint="name the runbook that belongs to it, or leave `service` out of the runbook",
        )
    place = config.targets.get(target)
    if place is None:
        raise ConfigError(
            f"{target!r} is no target", hint=f"targets are {', '.join(config.targets) or 'none'}"
        )
    if target in runbook.lost:
        raise GuardRefused(
            f"runbook {runbook.name} takes {target!r} for lost", hint="choose another target"
        )
    limits = _tighter(runbook.limits, place.limits)
    return Plan(
        runbook=runbook.name,
        kind=kind,
        namespace="drill" if kind == "drill" else "production",
        service=service.name,
        primary=service.primary,
        target=target,
        lost=runbook.lost,
        point=point,
        rto_min=runbook.targets.rto_min,
        rpo_min=runbook.targets.rpo_min,
        usd_per_hour=limits.usd_per_hour,
        usd_per_run=limits.usd_per_run,
        ttl_min=limits.ttl_min,
        commit_policy=runbook.commit.policy,
        commit_after_min=runbook.commit.after_min,
        drkit_version=__version__,
        steps=tuple(
            _plan_step(step, config, kind, target, place, actions) for step in runbook.steps
        ),
    )


def _plan_step(
    step: Step,
    config: Config,
    kind: RunKind,
    target: str,
    place: Target,
    actions: Mapping[str, ActionFacts],
) -> PlannedStep:
    action = actions.get(step.action)
    if action is None:
        raise NotInThisVersion(f"action {step.action}", hint="update drkit, or change the runbook")
    arguments = fill_target(step.with_, _target_fields(target, place))
    if secret := names_secret(arguments):
        raise NotInThisVersion(
            f"{secret} in a runbook", hint="secrets belong into schedules.yaml, as references"
        )
    default_s = step.budget_min * 60 * 1.5 if step.budget_min else DEFAULT_TIMEOUT_S
    return PlannedStep(
        id=step.id,
        phase=step.phase,
        action=step.action,
        version=action.version,
        effect=action.effect,
        arguments=arguments,
        needs=step.needs,
        budget_min=step.budget_min,
        timeout_s=step.timeout_s or default_s,
        retries=step.retries,
        on_failure=step.on_failure,
        skip=_skip_reason(step, config, kind),
        keep=step.rollback.none if step.rollback else None,
        approval=step.approval,
    )


_NEED_A_NAME = ("hold", "cutover", "verify_public")


def _skip_reason(step: Step, config: Config, kind: RunKind) -> str | None:
    if kind not in step.modes:
        return f"the runbook gives this step to {', '.join(step.modes)} only"
    if kind == "drill" and step.action in _NEED_A_NAME and not has_drill_name(config):
        return "no switch has a name of its own for drills (drill_record, drill_url)"
    return None


def has_drill_name(config: Config) -> bool:
    """Some switch can be moved in a drill without touching production's names."""
    return any(
        getattr(switch, "drill_record", None) or getattr(switch, "drill_url", None)
        for switch in config.switch.values()
    )


def _target_fields(name: str, target: Target) -> dict[str, JSON]:
    return {
        "name": name,
        "provider": target.provider.kind,
        "usd_per_hour": target.limits.usd_per_hour,
        "usd_per_run": target.limits.usd_per_run,
        "ttl_min": target.limits.ttl_min,
    }


def _tighter(one: Limits, other: Limits) -> Limits:
    def least(a: float | None, b: float | None) -> float | None:
        return b if a is None else a if b is None else min(a, b)

    return Limits(
        usd_per_hour=least(one.usd_per_hour, other.usd_per_hour),
        usd_per_run=least(one.usd_per_run, other.usd_per_run),
        ttl_min=min(one.ttl_min, other.ttl_min),
    )
