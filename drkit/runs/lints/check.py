"""Is the runbook right, before it is needed? Every lint, and nothing but the two files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from drkit.config.models import Config
from drkit.runs.actions.interface import Action
from drkit.runs.book.schema import Runbook
from drkit.runs.lints import lost, places, steps
from drkit.runs.lints.values import Finding, Known, Subject

Lint = Callable[[Subject], Iterable[Finding]]

# Cycles, ids, unknown actions and references to steps that are not waited for are refused when the
# file is read (drkit/runs/book/schema.py), as the lint "structure".
LINTS: Mapping[str, Lint] = {
    "names": steps.names,
    "proof": steps.proof,
    "public": steps.public,
    "fence": steps.fence,
    "one-mover": steps.one_mover,
    "continue": steps.goes_on,
    "rollback": steps.rollback,
    "price": steps.price,
    "budget": steps.budget,
    "references": steps.references,
    "secrets": steps.secrets,
    "lost-places": lost.lost_places,
    "endpoints": places.endpoints,
    "external": places.external,
    "weights": places.weights,
    "tls": places.tls,
    "golden": places.golden,
    "credentials": places.credentials,
}


def check_runbook(
    runbook: Runbook, config: Config, actions: Mapping[str, Action], known: Known | None = None
) -> tuple[Finding, ...]:
    """Everything that is to say of the runbook in this deployment, lint by lint. Pure."""
    subject = Subject(runbook, config, actions, known or Known())
    return tuple(finding for lint in LINTS.values() for finding in lint(subject))
