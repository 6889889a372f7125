"""schedules.yaml: the whole deployment. Everything but one store and one source is optional."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from drkit.config.fields import Name, Seconds, Strict
from drkit.config.places import Probe, Service, Site, SwitchConfig, Target
from drkit.config.sources import SourceConfig, WeightsSource
from drkit.config.stores import ArbiterConfig, RepositoryConfig, StoreArbiter, StoreConfig

JobCommand = Literal["backup", "probe", "check", "prune", "run-drill"]


class Job(Strict):
    """One scheduled command: every so often, or by a cron line in UTC."""

    run: JobCommand
    every: Seconds | None = None
    cron: str | None = None
    sources: tuple[Name, ...] = Field((), description="backup: only these; default all.")
    to: Name | None = Field(None, description="run-drill: the target.")
    deadline: Seconds = Field("1h", validate_default=True)

    @model_validator(mode="after")
    def _one_clock(self) -> Job:
        if (self.every is None) == (self.cron is None):
            raise ValueError("a schedule has either `every` or `cron`")
        return self


class State(Strict):
    """What drkit remembers. Deleting it loses no backup and no role."""

    path: str = Field(".drkit", description="Relative to this file's folder.")
    url: str | None = Field(None, description="A database URL; default: SQLite in `path`.")


class Targets(Strict):
    """What the recovery is measured against."""

    rto_min: float = 35
    rpo_min: float = 60
    proof_max_age: Seconds = Field("26h", validate_default=True)
    drill_every: Seconds = Field("90d", validate_default=True)


class Config(Strict):
    """The deployment. Names link its parts: `lives_on`, `stores`, `primary`, `to`."""

    drkit: Literal[1] = Field(description="The version of this file's format.")
    stores: dict[Name, StoreConfig] = Field(min_length=1)
    repository: RepositoryConfig
    sources: dict[Name, SourceConfig] = Field(min_length=1)
    sites: dict[Name, Site] = {}
    targets: dict[Name, Target] = {}
    service: Service | None = None
    switch: dict[Name, SwitchConfig] = {}
    arbiter: ArbiterConfig | None = Field(None, description="Default: a folder in `state`.")
    probe: Probe = Probe()
    objectives: Targets = Targets()
    schedules: dict[Name, Job] = {}
    state: State = State()
    runbooks: str = Field("runbooks", description="Folder, relative to this file's.")

    @model_validator(mode="after")
    def _names_resolve(self) -> Config:
        for problem in _unresolved(self):
            raise ValueError(problem)
        return self

    @property
    def min_copies(self) -> int:
        """How many stores must hold a whole point for a backup to have succeeded."""
        return min(self.repository.min_copies or 2, len(self.stores))


def _unresolved(config: Config) -> list[str]:
    """What names something that is not there, in the words of an error."""
    problems = []
    places = set(config.sites) | set(config.targets)
    if both := set(config.sites) & set(config.targets):
        problems.append(f"{sorted(both)[0]!r} is both a site and a target")
    for name, source in config.sources.items():
        if source.lives_on not in config.sites:
            problems.append(
                f"sources.{name}.lives_on names the site {source.lives_on!r}, which `sites` lacks"
            )
        if isinstance(source, WeightsSource):
            for store in source.stores:
                if store not in config.stores:
                    problems.append(f"sources.{name}.stores names {store!r}, which `stores` lacks")
    if config.service:
        if config.service.primary not in config.sites:
            problems.append(
                f"service.primary names {config.service.primary!r}, which `sites` lacks"
            )
        weights = config.service.weights
        if weights and not isinstance(config.sources.get(weights), WeightsSource):
            problems.append(f"service.weights names {weights!r}, which is no weights source")
    if isinstance(config.arbiter, StoreArbiter) and config.arbiter.store not in config.stores:
        problems.append(f"arbiter.store names {config.arbiter.store!r}, which `stores` lacks")
    for name, job in config.schedules.items():
        if job.to and job.to not in places:
            problems.append(f"schedules.{name}.to names {job.to!r}, which `targets` lacks")
        for source_name in job.sources:
            if source_name not in config.sources:
                problems.append(
                    f"schedules.{name}.sources names {source_name!r}, which `sources` lacks"
                )
    return problems
