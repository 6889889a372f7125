"""Lints of the steps themselves: order, effects, failure, rollback, budgets. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from drkit.runs.book.critical_path import critical_path
from drkit.runs.book.references import REFERENCE
from drkit.runs.book.schema import Step
from drkit.runs.lints.values import Finding, Path, Subject
from drkit.runs.records import Effect

_TARGET_FIELDS = frozenset({"name", "provider", "usd_per_hour", "usd_per_run", "ttl_min"})
_FAILBACK_FIELDS = frozenset({"endpoint_url", "run_id", "instance", "snapshot", "brought"})
_PHASES = ("dns", "deploy", "restore", "verify")

_SECRET_KEY = re.compile(r"token|password|passwd|secret|api_?key|credential|private", re.I)
_SECRET_VALUE = re.compile(
    r"AKIA[0-9A-Z]{16}|(?:sk|hf|ghp|xoxb)[-_][0-9A-Za-z_-]{16,}|-----BEGIN|(?i:bearer )\S"
    r"|://[^/\s:@]+:[^/\s@]+@|\b(?=\w*\d)(?=\w*[a-z])(?=\w*[A-Z])\w{32,}\b"
)


def proof(subject: Subject) -> Iterator[Finding]:
    """Traffic is led to a site only behind a proof of the same run (R8)."""
    for index, step, action in subject.steps():
        if not action.to_site:
            continue
        proving = [each for each, known in subject.before(step) if known.proves]
        covered = frozenset[str]().union(*(subject.modes(each) for each in proving))
        if bare := sorted(subject.modes(step) - covered):
            text = f"`{step.id}` leads traffic to a site with no verify before it"
            if proving:
                text += f" in a {', '.join(bare)}"
            yield Finding(
                "proof", "refuse", _at(index, "needs"), text, "add a `verify` step to its `needs`"
            )


def fence(subject: Subject) -> Iterator[Finding]:
    """No point is chosen and no data is written before the other side can write no more."""
    if subject.runbook.kind not in ("failover", "failback"):
        return
    for index, step, action in subject.steps():
        if action.data and not any(known.fences for _, known in subject.before(step)):
            wanted = "fence" if subject.runbook.kind == "failover" else "fence_target"
            yield Finding(
                "fence",
                "refuse",
                _at(index, "needs"),
                f"`{step.id}` ({step.action}) can run while the other side still writes",
                f"add a step with `action: {wanted}`, and its id to `needs`",
            )


def rollback(subject: Subject) -> Iterator[Finding]:
    """What costs money can be taken back (R9, R12)."""
    for index, step, action in subject.steps():
        if action.effect is Effect.PAID and (action.undo is None or step.rollback is not None):
            yield Finding(
                "rollback",
                "refuse",
                _at(index, "rollback"),
                f"`{step.id}` costs money, and a rollback would leave it running",
                "leave `rollback` out: its action gives back what it made",
            )


def price(subject: Subject) -> Iterator[Finding]:
    """Each paid step has a bound for the whole run on every target (R10)."""
    own = subject.runbook.limits
    if not subject.has(Effect.PAID) or own.usd_per_run is not None:
        return
    for name, target in subject.config.targets.items():
        if target.limits.usd_per_run is None:
            yield Finding(
                "price",
                "refuse",
                ("targets", name, "limits", "usd_per_run"),
                f"a run on {name} has no bound on what it may cost",
                f"write `limits: {{usd_per_run: {_worst(subject, name):.0f}}}`, or set it in the "
                "runbook's `limits`",
                in_config=True,
            )


def _worst(subject: Subject, name: str) -> float:
    """What the dearest candidate costs for its whole time to live, rounded up."""
    target = subject.config.targets[name]
    dearest = max(candidate.max_usd_per_hour for candidate in target.candidates)
    return dearest * target.limits.ttl_min / 60 + 0.5


def goes_on(subject: Subject) -> Iterator[Finding]:
    """`continue` is for what changes nothing, and for `hold`.

    A step that writes, pays, fences or moves traffic and failed has left something that nobody
    looks at, and what comes after would build on it. `hold` alone may fail and be gone on without:
    it leads users to the external API, which is a permitted place at any moment (R8), it costs no
    money and loses no data, nothing after it uses its output, and recovery without it is the same
    recovery with users seeing errors meanwhile. Waiting for a hold that cannot be set would make
    their outage longer.
    """
    for index, step, action in subject.steps():
        if (
            step.on_failure == "continue"
            and action.effect is not Effect.READ
            and step.action != "hold"
        ):
            yield Finding(
                "continue",
                "refuse",
                _at(index, "on_failure"),
                f"`{step.id}` has the effect {action.effect.value}, and the run would go on "
                "over what a failed one left",
                "write `on_failure: rollback`, or `ask`",
            )


def budget(subject: Subject) -> Iterator[Finding]:
    """The budgets on the longest way fit into the objective."""
    steps, rto_min = subject.runbook.steps, subject.runbook.targets.rto_min
    path = critical_path(steps)
    if (slack := path.slack_min(rto_min)) < 0:
        yield Finding(
            "budget",
            "refuse",
            ("targets", "rto_min"),
            f"{' - '.join(path.steps)} takes {path.minutes:g} min, {-slack:g} min more than "
            f"rto_min {rto_min:g}",
            "lower the budgets on this way, let its steps run side by side, or raise rto_min",
        )
    for index, step in enumerate(steps):
        if step.phase in _PHASES and step.budget_min is None:
            yield Finding(
                "budget",
                "warn",
                _at(index, "budget_min"),
                f"`{step.id}` takes part in phase {step.phase} and has no budget, so that the "
                "longest way is too short",
                "write `budget_min: MINUTES`",
            )


def one_mover(subject: Subject) -> Iterator[Finding]:
    """Two steps that move traffic never run at the same time."""
    moving = [
        (index, step) for index, step, action in subject.steps() if action.effect is Effect.TRAFFIC
    ]
    for place, (index, step) in enumerate(moving):
        for _, other in moving[:place]:
            if not _ordered(subject, step, other):
                yield Finding(
                    "one-mover",
                    "refuse",
                    _at(index, "needs"),
                    f"`{other.id}` and `{step.id}` can move traffic at the same time",
                    f"add `{other.id}` to the `needs` of `{step.id}`",
                )


def _ordered(subject: Subject, one: Step, other: Step) -> bool:
    return any(each.id == other.id for each, _ in subject.before(one)) or any(
        each.id == one.id for each, _ in subject.before(other)
    )


def public(subject: Subject) -> Iterator[Finding]:
    """Who was led somewhere is asked whether they arrived (H5)."""
    for index, step, action in subject.steps():
        if action.to_site and not any(
            each.action == "verify_public" and any(known.id == step.id for known, _ in before)
            for _, each, _ in subject.steps()
            for before in [subject.before(each)]
        ):
            yield Finding(
                "public",
                "warn",
                _at(index, "id"),
                f"nothing looks whether users arrive where `{step.id}` leads them",
                "add a step with `action: verify_public` that needs it",
            )


def references(subject: Subject) -> Iterator[Finding]:
    """What `with` asks for is something that this kind of run knows."""
    known = _TARGET_FIELDS
    if subject.runbook.kind == "failback":
        known |= _FAILBACK_FIELDS
    for index, step in enumerate(subject.runbook.steps):
        for key, value in step.with_.items():
            for match in REFERENCE.finditer(str(value)):
                if (field := match["field"]) is not None and field not in known:
                    text = f"a target has no `{field}` in a {subject.runbook.kind}"
                    instead = f"known here: {', '.join(sorted(known))}"
                elif match["secret"]:
                    text = f"{match[0]} cannot be resolved by this version"
                    instead = "refer to the secret in schedules.yaml, where it is used"
                else:
                    continue
                yield Finding("references", "refuse", _at(index, "with", key), text, instead)


def secrets(subject: Subject) -> Iterator[Finding]:
    """No secret stands in a runbook: it goes into plans, journals and evidence."""
    for index, place in enumerate(subject.runbook.notify):
        if _SECRET_VALUE.search(place):
            yield Finding(
                "secrets",
                "refuse",
                ("notify", index),
                "this address holds a secret; it is not repeated here",
                "name the alert's place in schedules.yaml, and refer to its secret there",
            )
    for index, step in enumerate(subject.runbook.steps):
        for key, value in step.with_.items():
            if not isinstance(value, str) or REFERENCE.fullmatch(value):
                continue
            if _SECRET_KEY.search(key) or _SECRET_VALUE.search(value):
                yield Finding(
                    "secrets",
                    "refuse",
                    _at(index, "with", key),
                    f"`{key}` of `{step.id}` looks like a secret; it is not repeated here",
                    "take it out, change it where it is valid, and refer to it in schedules.yaml "
                    "(env:NAME, file:/path)",
                )


def names(subject: Subject) -> Iterator[Finding]:
    """The runbook's own name, its service and its sites are ones that exist."""
    runbook, config = subject.runbook, subject.config
    if subject.known.file_name not in (None, runbook.name):
        yield Finding(
            "names",
            "refuse",
            ("name",),
            f"the file is called {subject.known.file_name}.yaml and the runbook `{runbook.name}`",
            f"write `name: {subject.known.file_name}`: commands find it by its file",
        )
    for index, site in enumerate(runbook.lost):
        if site not in config.sites:
            yield Finding(
                "names",
                "refuse",
                ("lost", index),
                f"`{site}` is no site",
                f"known here: {', '.join(config.sites) or 'none'}",
            )
    service = config.service.name if config.service else None
    if service is None or runbook.service not in (None, service):
        yield Finding(
            "names",
            "refuse",
            ("service",),
            f"there is no service `{runbook.service}`" if service else "there is no service",
            f"write `service: {service}`, or leave it out"
            if service
            else "add `service` to schedules.yaml",
        )


def _at(index: int, *below: str) -> Path:
    return ("steps", index, *below)
