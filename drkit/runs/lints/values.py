"""What a lint looks at and what it answers. Values only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from drkit.config.models import Config
from drkit.config.sources import HERE, AnyWeights, CommandSource, TreeSource
from drkit.runs.actions.interface import Action
from drkit.runs.book.plan import kinds_of
from drkit.runs.book.references import upstream
from drkit.runs.book.schema import Mode, Runbook, Step
from drkit.runs.records import Effect

Level = Literal["refuse", "warn", "note"]
Path = tuple[str | int, ...]
USED_BY_RUNS = ("stores", "repository", "service", "targets", "switch", "arbiter")
"""The parts of the configuration whose secrets a run needs."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong before it is needed. `at` lies in the runbook, or in the
    configuration when `in_config`. `instead`: what to write there. A note is no fault: it says what
    could not be looked at.
    """

    lint: str
    level: Level
    at: Path
    text: str
    instead: str
    in_config: bool = False


@dataclass(frozen=True, slots=True)
class Known:
    """What neither file says; None and absent: not measured.

    `golden`: the newest point holds golden answers. `used_s`: seconds since the part of the
    configuration at this path worked with its credentials. `vault_host`: where `vault:` asks.
    `file_name`: the runbook's, without its ending.
    """

    golden: bool | None = None
    used_s: Mapping[str, float] = field(default_factory=dict)
    vault_host: str | None = None
    file_name: str | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """One runbook in one deployment, with what its lints ask again and again."""

    runbook: Runbook
    config: Config
    actions: Mapping[str, Action]
    known: Known

    def steps(self) -> Iterator[tuple[int, Step, Action]]:
        """Each step whose action is known, with its place in the list."""
        for index, step in enumerate(self.runbook.steps):
            if (action := self.actions.get(step.action)) is not None:
                yield index, step, action

    def before(self, step: Step) -> list[tuple[Step, Action]]:
        """What `step` waits for, directly or not."""
        ids = upstream(step.id, {each.id: each.needs for each in self.runbook.steps})
        return [(each, action) for _, each, action in self.steps() if each.id in ids]

    def modes(self, step: Step) -> frozenset[Mode]:
        """The kinds of run that execute the step."""
        return frozenset(step.modes or kinds_of(self.runbook))

    def has(self, effect: Effect) -> bool:
        return any(action.effect is effect for _, _, action in self.steps())

    @property
    def leads_to_site(self) -> bool:
        """Some step leads traffic to a server, and not only to the external API."""
        return any(action.to_site for _, _, action in self.steps())

    @property
    def this_machine_is_lost(self) -> bool:
        """Trees and commands are read where drkit runs, so that their site is this machine. Weights
        are served on theirs, wherever the copy lies that is read.
        """
        here = {HERE} | {
            source.lives_on
            for source in self.config.sources.values()
            if isinstance(source, TreeSource | CommandSource) and not isinstance(source, AnyWeights)
        }
        return not here.isdisjoint(self.runbook.lost)
