"""Is the runbook right, before it is needed? Every lint, and nothing but the two files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from drkit.config.models import Config
from drkit.runs import lint_lost, lint_places, lint_steps
from drkit.runs.actions.interface import Action
from drkit.runs.lint_values import Finding, Known, Subject
from drkit.runs.schema import Runbook

Lint = Callable[[Subject], Iterable[Finding]]

# Cycles, ids, unknown actions and references to steps that are not waited for are refused when the
# file is read (drkit/runs/schema.py), as the lint "structure".
LINTS: Mapping[str, Lint] = {
    "names": lint_steps.names,
    "proof": lint_steps.proof,
    "public": lint_steps.public,
    "fence": lint_steps.fence,
    "one-mover": lint_steps.one_mover,
    "continue": lint_steps.goes_on,
    "rollback": lint_steps.rollback,
    "price": lint_steps.price,
    "budget": lint_steps.budget,
    "references": lint_steps.references,
    "secrets": lint_steps.secrets,
    "lost-places": lint_lost.lost_places,
    "endpoints": lint_places.endpoints,
    "external": lint_places.external,
    "tls": lint_places.tls,
    "golden": lint_places.golden,
    "credentials": lint_places.credentials,
}


def check_runbook(
    runbook: Runbook, config: Config, actions: Mapping[str, Action], known: Known | None = None
) -> tuple[Finding, ...]:
    """Everything that is to say of the runbook in this deployment, lint by lint. Pure."""
    subject = Subject(runbook, config, actions, known or Known())
    return tuple(finding for lint in LINTS.values() for finding in lint(subject))


def refuses(findings: Iterable[Finding]) -> bool:
    """Whether the runbook may not be relied on as it is."""
    return any(finding.level == "refuse" for finding in findings)
