"""A plan: a runbook for one target, frozen, with a checksum; exactly this is executed (R6)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Protocol, get_args

from drkit import __version__
from drkit.config.models import Config
from drkit.config.places import Limits, Target
from drkit.errors import ConfigError, GuardRefused, NotInThisVersion
from drkit.runs.book.references import fill_target, names_secret
from drkit.runs.book.schema import Approval, OnFailure, Phase, Runbook, Step
from drkit.runs.records import EXTERNAL, JSON, Effect, Namespace, RunKind

DEFAULT_TIMEOUT_S = 600.0
STANDBY = "standby"
"""The action that names a server which runs already."""
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

    @property
    def asks_provider(self) -> bool:
        """Whether the target's provider is asked for anything: not for a standby's sake."""
        standby = any(step.action == STANDBY for step in self.steps)
        return self.target != EXTERNAL and not standby

    def step(self, step_id: str) -> PlannedStep:
        """The step of that id. KeyError."""
        for step in self.steps:
            if step.id == step_id:
                return step
        raise KeyError(step_id)

    def to_json(self) -> str:
        """Canonical: sorted keys, no spaces, so that equal plans have equal checksums."""
        values = _values(self)
        values["steps"] = [_values(step) | {"effect": step.effect.value} for step in self.steps]
        for step in values["steps"]:
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


def _values(of: Plan | PlannedStep) -> dict[str, Any]:
    return {each.name: getattr(of, each.name) for each in fields(of)}


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


@dataclass(frozen=True, slots=True)
class Serving:
    """Who serves now: what a failback leaves. By the role record, and by the journal of the run
    that moved traffic there.

    `run_id`: that run. `instance`: its machine. `snapshot`: the point it restored. `brought`: what
    it brought back to where, by source, as its restore step said.
    """

    site: str
    endpoint_url: str | None = None
    run_id: str | None = None
    instance: str | None = None
    snapshot: str | None = None
    brought: Mapping[str, JSON] = field(default_factory=dict)


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
    serving: Serving | None = None,
) -> Plan:
    """The runbook for this target and kind of run. Pure.

    `target`: where the service is brought up; in a failback the place that is left, of which
    `serving` says more; `EXTERNAL` where no machine takes part. Raises `ConfigError` for what does
    not fit the configuration, and `NotInThisVersion`.
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
    _refuse_other_kind(runbook, kind, serving)
    place = _place(runbook, config, target, actions)
    limits = _tighter(runbook.limits, place.limits) if place else runbook.limits
    known = _target_fields(target, place, limits, serving)
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
            _plan_step(step, runbook, config, kind, known, actions) for step in runbook.steps
        ),
    )


def kinds_of(runbook: Runbook) -> tuple[RunKind, ...]:
    """The kinds of run that can execute it: its own, and a drill of a failover."""
    return ("failover", "drill") if runbook.kind == "failover" else (runbook.kind,)


def _refuse_other_kind(runbook: Runbook, kind: RunKind, serving: Serving | None) -> None:
    if kind not in kinds_of(runbook):
        raise ConfigError(
            f"runbook {runbook.name} is a {runbook.kind} and is not executed as a {kind}",
            hint=f"`drkit runbook run {runbook.name}` executes it as what it is",
        )
    if kind == "failback" and serving is None:
        raise ConfigError(
            "a failback needs to know who serves now", hint="`drkit failback` reads it"
        )


def buys(runbook: Runbook, actions: Mapping[str, ActionFacts]) -> bool:
    """Whether a step of it costs money, so that it needs a target to buy from."""
    return any(
        (action := actions.get(step.action)) is not None and action.effect is Effect.PAID
        for step in runbook.steps
    )


def leads_to_standby(runbook: Runbook) -> bool:
    """Whether it leads to a server that runs already."""
    return any(step.action == STANDBY for step in runbook.steps)


def asks_a_person(runbook: Runbook, actions: Mapping[str, ActionFacts]) -> tuple[str, ...]:
    """Why the runbook is never carried out by nobody's word, in words; empty if it may be. Pure.

    What costs money is somebody's decision, and so is what asks for one; an action that is not
    known may be anything.
    """
    name = runbook.name
    reasons = []
    for step in runbook.steps:
        action = actions.get(step.action)
        if action is None:
            reasons.append(f"runbook {name}: `{step.id}` is unknown to this version")
        elif action.effect is Effect.PAID:
            reasons.append(f"runbook {name}: `{step.id}` costs money")
        if step.approval == "operator":
            reasons.append(f"runbook {name}: `{step.id}` waits for an operator's approval")
    return tuple(reasons)


def _place(
    runbook: Runbook, config: Config, target: str, actions: Mapping[str, ActionFacts]
) -> Target | None:
    """The target's configuration; None for a run that no machine takes part in."""
    if target in runbook.lost:
        raise GuardRefused(
            f"runbook {runbook.name} takes {target!r} for lost", hint="choose another target"
        )
    if target == EXTERNAL and not buys(runbook, actions) and not leads_to_standby(runbook):
        return None
    place = config.targets.get(target)
    if place is None:
        raise ConfigError(
            f"{target!r} is no target", hint=f"targets are {', '.join(config.targets) or 'none'}"
        )
    if leads_to_standby(runbook) and not place.standby:
        raise ConfigError(
            f"{target} is no warm standby, and runbook {runbook.name} leads to one",
            hint=f"write `standby: true` and `endpoint` in targets.{target}, or choose one with "
            "--to or decide.to",
        )
    return place


def _plan_step(
    step: Step,
    runbook: Runbook,
    config: Config,
    kind: RunKind,
    target: Mapping[str, JSON],
    actions: Mapping[str, ActionFacts],
) -> PlannedStep:
    action = actions.get(step.action)
    if action is None:
        raise NotInThisVersion(f"action {step.action}", hint="update drkit, or change the runbook")
    arguments = fill_target(step.with_, target)
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
        skip=_skip_reason(step, kinds_of(runbook), config, kind),
        keep=step.rollback.none if step.rollback else None,
        approval=step.approval,
    )


_NEED_A_NAME = ("hold", "cutover", "verify_public")


def _skip_reason(
    step: Step, kinds: tuple[RunKind, ...], config: Config, kind: RunKind
) -> str | None:
    if kind not in (modes := step.modes or kinds):
        return f"the runbook gives this step to {', '.join(modes)} only"
    if kind == "drill" and step.action in _NEED_A_NAME and not has_drill_name(config):
        return "no switch has a name of its own for drills (drill_record, drill_url)"
    return None


def has_drill_name(config: Config) -> bool:
    """Some switch can be moved in a drill without touching production's names."""
    return any(
        getattr(switch, "drill_record", None) or getattr(switch, "drill_url", None)
        for switch in config.switch.values()
    )


def _target_fields(
    name: str, place: Target | None, limits: Limits, serving: Serving | None
) -> dict[str, JSON]:
    """What `${target.FIELD}` can ask for. In a failback the target is what is left."""
    known: dict[str, JSON] = {
        "name": name,
        "provider": place.provider.kind if place else None,
        "usd_per_hour": limits.usd_per_hour,
        "usd_per_run": limits.usd_per_run,
        "ttl_min": limits.ttl_min,
    }
    if serving is not None:
        known |= {
            "endpoint_url": serving.endpoint_url,
            "run_id": serving.run_id,
            "instance": serving.instance,
            "snapshot": serving.snapshot,
            "brought": serving.brought,
        }
    return known


def _tighter(one: Limits, other: Limits) -> Limits:
    def least(a: float | None, b: float | None) -> float | None:
        return b if a is None else a if b is None else min(a, b)

    return Limits(
        usd_per_hour=least(one.usd_per_hour, other.usd_per_hour),
        usd_per_run=least(one.usd_per_run, other.usd_per_run),
        ttl_min=min(one.ttl_min, other.ttl_min),
    )
