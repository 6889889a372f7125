"""From a runbook's name to its plan, and the plan as people and programs read it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drkit.errors import ConfigError

if TYPE_CHECKING:
    from drkit.cli.session import Session
    from drkit.config.models import Config
    from drkit.runs.book.plan import Plan, PlannedStep
    from drkit.wiring import App


def plan_named(app: App, name: str, *, to: str | None = None) -> Plan:
    """The frozen plan of the runbook, by its own kind.

    A failback leaves who serves now; one that neither leads to a standby nor rents anything goes to
    the external API; all others to `to`, or where a decision would lead. ConfigError where
    `to` does not fit.
    """
    from drkit.runs.actions.catalog import ACTIONS
    from drkit.runs.book.plan import buys, leads_to_standby, make_plan
    from drkit.runs.book.schema import load_runbook
    from drkit.runs.records import EXTERNAL
    from drkit.wiring.failback import serving_now
    from drkit.wiring.run import open_journal
    from drkit.wiring.watch import decided_target

    if app.config.service is None:
        raise ConfigError("schedules.yaml describes no service", hint="add its `service` section")
    book = load_runbook(Path(app.config.runbooks) / f"{name}.yaml")
    serving, target = None, to
    if book.kind == "failback":
        serving = serving_now(app, open_journal(app))
        target = serving.site
    elif not (leads_to_standby(book) or buys(book, ACTIONS)):
        target = EXTERNAL
    if to not in (None, target):
        raise ConfigError(
            f"runbook {name} does not lead to {to!r}, but "
            + (f"home from {target}" if serving else f"to the {target}"),
            hint="leave --to out",
        )
    return make_plan(
        book,
        config=app.config,
        kind=book.kind,
        target=target or decided_target(app, name),
        actions=ACTIONS,
        serving=serving,
    )


def must_be_open(app: App, plan: Plan) -> None:
    """Raises what would stop the run at its first step: a place that this version cannot open, no
    weights for the machine that is to be rented.
    """
    from drkit.runs.actions.tickets import weights_source
    from drkit.runs.records import Effect

    if plan.asks_provider:
        app.compute(plan.target)
    if any(step.effect is Effect.PAID and step.skip is None for step in plan.steps):
        weights_source(app.config)
    app.switches(plan.namespace)


def show_plan(session: Session, config: Config, plan: Plan) -> None:
    """The whole plan: steps, skips, effects, prices, minutes, and each step by hand."""
    session.terminal.result("plan", plan_values(config, plan), "\n".join(plan_screen(config, plan)))


def plan_values(config: Config, plan: Plan) -> dict[str, Any]:
    from drkit.runs.book.critical_path import critical_path
    from drkit.runs.by_hand.steps import by_hand

    path = critical_path(plan.steps, skipped=_skipped(plan))
    return {
        "runbook": plan.runbook,
        "kind": plan.kind,
        "service": plan.service,
        "target": plan.target,
        "lost": list(plan.lost),
        "point": plan.point,
        "checksum": plan.checksum,
        "candidates": _candidates(config, plan),
        "usd_per_hour": plan.usd_per_hour,
        "usd_per_run": plan.usd_per_run,
        "ttl_min": plan.ttl_min,
        "critical_path": list(path.steps),
        "critical_path_min": path.minutes,
        "rto_min": plan.rto_min,
        "slack_min": path.slack_min(plan.rto_min),
        "steps": [
            {
                "id": step.id,
                "phase": step.phase,
                "action": step.action,
                "version": step.version,
                "effect": step.effect.value,
                "needs": list(step.needs),
                "budget_min": step.budget_min,
                "timeout_s": step.timeout_s,
                "retries": step.retries,
                "on_failure": step.on_failure,
                "approval": step.approval,
                "skip": step.skip,
                "keep": step.keep,
                "with": dict(step.arguments),
                "by_hand": list(by_hand(step, plan, config)) if step.skip is None else [],
            }
            for step in plan.steps
        ],
    }


def plan_screen(config: Config, plan: Plan) -> Iterator[str]:
    """The plan for people, whole."""
    from drkit.runs.by_hand.steps import by_hand

    yield from plan_head(config, plan)
    for step in plan.steps:
        yield ""
        yield step_line(step)
        if step.skip is None:
            yield from (f"    {line}" for line in by_hand(step, plan, config))


def plan_head(config: Config, plan: Plan) -> Iterator[str]:
    """The screen before a run: where to, at what price, how long, in which order."""
    from drkit.runs.book.critical_path import critical_path, draw
    from drkit.runs.by_hand.steps import brought_home

    named = f"{plan.runbook} ({plan.checksum[:12]})"
    way = "from" if plan.kind == "failback" else "to"
    yield f"{plan.kind} of {plan.service} {way} {plan.target}, by {named}"
    for candidate in _candidates(config, plan):
        yield f"  candidate {candidate['gpu']}: at most ${candidate['usd_per_hour']:.2f} an hour"
    if plan.kind == "failback":
        names = ", ".join(brought_home(plan))
        yield f"  brings home: {names or 'traffic alone, for no data was brought away'}"
        yield f"  users are held meanwhile; {_given_back(plan)}"
    yield f"  {_money(plan)}"
    if plan.lost:
        yield f"  lost: {', '.join(plan.lost)}; point: {plan.point}"
    path = critical_path(plan.steps, skipped=_skipped(plan))
    slack = path.slack_min(plan.rto_min)
    spare = f"{slack:g} min to spare" if slack >= 0 else f"{-slack:g} min TOO MUCH"
    yield f"  {path.minutes:g} of {plan.rto_min:g} min, {spare}: {' - '.join(path.steps) or 'none'}"
    yield ""
    yield from draw(plan.steps, path)


def step_line(step: PlannedStep) -> str:
    """What the step does, in a line."""
    if step.skip is not None:
        return f"{step.id}: skipped: {step.skip}"
    words = [f"effect {step.effect.value}", f"at most {step.timeout_s / 60:g} min"]
    if step.retries:
        words.append(f"{step.retries} more {'try' if step.retries == 1 else 'tries'}")
    if step.approval != "none":
        words.append("waits for your approval")
    words.append(f"if it fails: {step.on_failure}")
    if step.keep is not None:
        words.append(f"stays when rolled back: {step.keep}")
    return f"{step.id} ({step.action}): {', '.join(words)}; by hand:"


def _given_back(plan: Plan) -> str:
    from drkit.runs.records import EXTERNAL

    if plan.target == EXTERNAL:
        return "no machine is given back"
    return f"the machine at {plan.target} is given back after the commit"


def _money(plan: Plan) -> str:
    if not any(step.effect.value == "paid" and step.skip is None for step in plan.steps):
        return "costs nothing"
    hour = f"${plan.usd_per_hour:.2f}" if plan.usd_per_hour else "no cap"
    run = f"${plan.usd_per_run:.2f}" if plan.usd_per_run else "none"
    return f"an hour: {hour}; cap for the run: {run}; lives at most {plan.ttl_min:g} min"


def _candidates(config: Config, plan: Plan) -> list[dict[str, Any]]:
    target = config.targets.get(plan.target)
    if target is None or plan.kind == "failback" or not plan.asks_provider:
        return []
    return [
        {"gpu": each.gpu, "region": each.region, "usd_per_hour": each.max_usd_per_hour}
        for each in target.candidates
    ]


def _skipped(plan: Plan) -> frozenset[str]:
    return frozenset(step.id for step in plan.steps if step.skip is not None)
