"""${target.FIELD}, ${steps.ID.OUTPUT} and ${secret:NAME} in a step's `with`: nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from drkit.errors import ConfigError
from drkit.runs.records import JSON

REFERENCE = re.compile(
    r"\$\{(?:target\.(?P<field>[a-z_]+)"
    r"|steps\.(?P<step>[a-z][a-z0-9_]*)\.(?P<output>[a-z0-9_]+)"
    r"|secret:(?P<secret>[A-Za-z0-9_]+))\}"
)

_Lookup = Callable[[re.Match[str]], JSON]


def upstream(step_id: str, needs: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Every step that `step_id` waits for, directly or not; itself too if it is in a cycle."""
    found: dict[str, None] = {}
    waiting = list(needs.get(step_id, ()))
    while waiting:
        each = waiting.pop()
        if each not in found:
            found[each] = None
            waiting += needs.get(each, ())
    return tuple(found)


def fill_target(values: Mapping[str, JSON], target: Mapping[str, JSON]) -> dict[str, JSON]:
    """`values` with the target's fields put in, when the plan is made."""

    def lookup(match: re.Match[str]) -> JSON:
        field = match["field"]
        if field is None:
            return match[0]
        if field not in target:
            raise ConfigError(
                f"the runbook asks for {match[0]}, which a target does not have",
                hint=f"a target has {', '.join(sorted(target))}",
            )
        return target[field]

    return {key: _fill(value, lookup) for key, value in values.items()}


def fill_outputs(
    values: Mapping[str, JSON], outputs: Mapping[str, Mapping[str, JSON]]
) -> dict[str, JSON]:
    """`values` with the outputs of earlier steps put in, when the step starts.

    An output that its step did not give, because it was skipped or failed, becomes None.
    """

    def lookup(match: re.Match[str]) -> JSON:
        if match["step"] is None:
            return match[0]
        return outputs.get(match["step"], {}).get(match["output"])

    return {key: _fill(value, lookup) for key, value in values.items()}


def names_secret(values: Mapping[str, JSON]) -> str | None:
    """The first ${secret:NAME} among `values`, or None."""
    for value in values.values():
        for match in REFERENCE.finditer(str(value)):
            if match["secret"]:
                return match[0]
    return None


def _fill(value: JSON, lookup: _Lookup) -> JSON:
    """A value that is one reference keeps its type; references within a text become text."""
    if not isinstance(value, str):
        return value
    if whole := REFERENCE.fullmatch(value):
        return lookup(whole)
    return REFERENCE.sub(lambda match: str(lookup(match)), value)
