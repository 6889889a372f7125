"""schedules.yaml: the whole deployment. Everything but one store and one source is optional."""

from collections.abc import Iterator
from typing import Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from drkit.config.alerts import Alerts
from drkit.config.checks import Checks
from drkit.config.cost import Cost
from drkit.config.decide import Decide
from drkit.config.fields import Cron, LocalPath, Name, Seconds, Strict
from drkit.config.places import Probe, Service, Site, SwitchConfig, Target
from drkit.config.references import Unresolved, unknown
from drkit.config.residency import outside
from drkit.config.same_place import in_one_place
from drkit.config.sources import HERE, PrivateWeights, SourceConfig, WeightsSource
from drkit.config.stores import ArbiterConfig, RepositoryConfig, StoreArbiter, StoreConfig

JobCommand = Literal["backup", "probe", "check", "prune", "run-drill"]


class Job(Strict):
    """One scheduled command: every so often, or by a cron line in UTC."""

    run: JobCommand
    every: Seconds | None = None
    cron: Cron | None = None
    sources: tuple[Name, ...] = Field((), description="backup: only these; default all.")
    to: Name | None = Field(None, description="run-drill: the target.")
    repair: bool = Field(
        False, description="check: put back what one store has wrong, from another one."
    )
    deadline: Seconds = Field("1h", validate_default=True)

    @model_validator(mode="after")
    def _one_clock(self) -> Self:
        if (self.every is None) == (self.cron is None):
            raise ValueError("a schedule has either `every` or `cron`")
        if self.every == 0:
            raise ValueError("`every` must be above 0; a minute is written as 1m")
        if self.repair and self.run != "check":
            raise ValueError("`repair` belongs to a check")
        return self


class State(Strict):
    """What drkit remembers. Deleting it loses no backup and no role."""

    path: LocalPath = Field(".drkit", description="A folder; relative: to this file's folder.")
    url: str | None = Field(None, description="A database URL; default: SQLite in `path`.")


class Targets(Strict):
    """What the recovery is measured against."""

    rto_min: float = 35
    rpo_min: float = 60
    proof_max_age: Seconds = Field("26h", validate_default=True)
    drill_every: Seconds = Field(
        "90d", validate_default=True, description="One has to pass so often, or status is red."
    )


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
    decide: Decide = Decide()
    alerts: Alerts = Alerts()
    objectives: Targets = Targets()
    schedules: dict[Name, Job] = {}
    cost: Cost = Cost()
    check: Checks = Checks()
    state: State = State()
    runbooks: LocalPath = Field(
        "runbooks", description="A folder; relative: to this file's folder."
    )

    @model_validator(mode="after")
    def _names_resolve(self) -> Self:
        strangers = outside(self.sources, self.stores, self.targets)
        if problems := [*_unresolved(self), *in_one_place(self.stores), *strangers]:
            words = "; ".join(f"{'.'.join(map(str, path))}: {text}" for path, text, _ in problems)
            raise PydanticCustomError(
                "unresolved_names", "{words}", {"words": words, "problems": problems}
            )
        return self

    @property
    def min_copies(self) -> int:
        """How many stores must hold a whole point for a backup to have succeeded."""
        return min(self.repository.min_copies or 2, len(self.stores))


def _unresolved(config: Config) -> list[Unresolved]:
    """Every name that points at nothing."""
    return [*_in_sources(config), *_in_service(config), *_in_the_rest(config)]


def _in_sources(config: Config) -> Iterator[Unresolved]:
    for name, source in config.sources.items():
        if source.lives_on != HERE:
            yield from unknown(
                ("sources", name, "lives_on"), source.lives_on, "sites", config.sites
            )
        if isinstance(source, WeightsSource):
            for index, store in enumerate(source.stores):
                path = ("sources", name, "stores", index)
                yield from unknown(path, store, "stores", config.stores)


def _in_service(config: Config) -> Iterator[Unresolved]:
    if config.service is None:
        return
    yield from unknown(("service", "primary"), config.service.primary, "sites", config.sites)
    weights = [n for n, source in config.sources.items() if isinstance(source, WeightsSource)]
    if config.service.weights is not None and config.service.weights not in weights:
        text = f"`{config.service.weights}` is no source of kind weights"
        if isinstance(config.sources.get(config.service.weights), PrivateWeights):
            text = (
                f"`{config.service.weights}` lies in the repository, whose key no rented machine "
                "gets: a target can only be given weights of `mode: mirror`"
            )
        yield ("service", "weights"), text, tuple(weights)


def _in_the_rest(config: Config) -> Iterator[Unresolved]:
    for name in sorted(set(config.sites) & set(config.targets)):
        yield ("targets", name), "this name is a site too; each place has one name", ()
    if isinstance(config.arbiter, StoreArbiter):
        yield from unknown(("arbiter", "store"), config.arbiter.store, "stores", config.stores)
    if config.decide.to is not None:
        yield from unknown(("decide", "to"), config.decide.to, "targets", config.targets)
    for name in config.cost.loads:
        yield from unknown(("cost", "loads", name), name, "sources", config.sources)
    for name in config.cost.prices:
        yield from unknown(("cost", "prices", name), name, "stores", config.stores)
    for name, job in config.schedules.items():
        if job.to is not None:
            yield from unknown(("schedules", name, "to"), job.to, "targets", config.targets)
        for index, source in enumerate(job.sources):
            path = ("schedules", name, "sources", index)
            yield from unknown(path, source, "sources", config.sources)
