"""The state machines of docs/machines.md, printed from the tables that run.

`python tests/tools/machines.py` writes the page; tests/model fails when it is not what it prints.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from drkit.coordination import decision
from drkit.health import table
from drkit.health.interface import ServiceState
from drkit.runs import states
from drkit.runs.records import RunState, StepState

PAGE = Path(__file__).parents[2] / "docs" / "machines.md"
_HEAD = """# The state machines

Printed from the tables that run, by `python tests/tools/machines.py`. Words on an arrow are the
event, and in brackets the guard that has to hold. What is not listed changes nothing, or is
refused.
"""


def page() -> str:
    parts = [
        _HEAD,
        _section(
            "Service",
            "`drkit/health/table.py`. HEALTHY as a goal stands for well wherever it serves from.",
            ServiceState.UNKNOWN.name,
            (
                (state.name, row.to.name, _words(signal.name, row.guard))
                for (state, signal), row in table.TABLE.items()
            ),
            (),
        ),
        _section(
            "Decision",
            "`drkit/coordination/decision.py`. The first row whose guard holds.",
            decision.DecisionState.OPEN.name,
            (
                (state.name, row.to.name, _words(event.name, row.guard))
                for (state, event), rows in decision.TABLE.items()
                for row in rows
            ),
            (state.name for state in decision.DecisionState if state.ended),
        ),
        _section(
            "Run",
            "`drkit/runs/states.py`, `RUN_TABLE`.",
            RunState.PLANNED.name,
            (
                (state.name, to.name, event.name.lower())
                for (state, event), to in states.RUN_TABLE.items()
            ),
            (state.name for state in RunState if state.ended),
        ),
        _section(
            "Step",
            "`drkit/runs/states.py`, `STEP_TABLE`: moved by the entries of the journal.",
            StepState.PENDING.name,
            ((state.name, to.name, entry) for (state, entry), to in states.STEP_TABLE.items()),
            (),
        ),
    ]
    return "\n".join(parts)


def _words(event: str, guard: object) -> str:
    name = getattr(guard, "__name__", "").replace("_", " ")
    return event.lower() if name == "always" else f"{event.lower()} [{name}]"


def _section(
    name: str, where: str, first: str, rows: Iterable[tuple[str, str, str]], ends: Iterable[str]
) -> str:
    """A diagram with one arrow for each pair of states, and its table in the order of the code."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for before, after, words in rows:
        arrows.setdefault((before, after), []).append(words)
    lines = [f"## {name}", "", where, "", "```mermaid", "stateDiagram-v2", f"    [*] --> {first}"]
    for (before, after), words in arrows.items():
        lines.append(f"    {before} --> {after}: {', '.join(words)}")
    lines += [f"    {end} --> [*]" for end in ends]
    return "\n".join([*lines, "```", ""])


if __name__ == "__main__":
    PAGE.write_text(page())
