"""Which kinds of source this version cuts. Mirrored weights are no source: see drkit.mirror."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from drkit.clock import Clock
from drkit.config import sources as configured
from drkit.config.secret_refs import check_references, references
from drkit.errors import NotInThisVersion
from drkit.secrets.interface import Secrets
from drkit.sources.interface import Excludes, Source

Opener = Callable[[str, configured.SourceConfig, Secrets, Clock], Source]


def open_source(
    name: str, config: configured.SourceConfig, secrets: Secrets, *, clock: Clock
) -> Source:
    """The source; nothing is asked of it yet. Raises `MissingCredential`, `NotInThisVersion`."""
    check_references(references(config, at=f"sources.{name}"), secrets.missing)
    opener = OPENERS.get(config.kind)
    if opener is None:
        raise NotInThisVersion(config.kind, hint=f"sources.{name} has no adapter yet")
    return opener(name, config, secrets, clock)


def _open_tree(
    name: str, config: configured.SourceConfig, _secrets: Secrets, clock: Clock
) -> Source:
    from drkit.sources.tree import TreeFolder

    assert isinstance(config, configured.TreeSource)
    return TreeFolder(name, config.path, exclude=_left_out(config), clock=clock)


def _left_out(config: configured.TreeSource) -> Excludes:
    """What the configuration leaves out. Raises `ConfigError` for what is no pattern."""
    from drkit.sources.patterns import checked, pattern_file

    return checked(
        Excludes(
            patterns=(*config.exclude, *pattern_file(config.exclude_file)),
            ipatterns=config.iexclude,
            larger_than_bytes=config.exclude_larger_than,
            caches=config.exclude_caches,
            if_present=config.exclude_if_present,
            one_file_system=config.one_file_system,
            ignore_files=True,
        )
    )


def _open_weights(
    name: str, config: configured.SourceConfig, _secrets: Secrets, clock: Clock
) -> Source:
    from drkit.sources.weights_folder import WeightsFolder

    if not isinstance(config, configured.PrivateWeights):
        raise NotInThisVersion(config.kind, hint=f"sources.{name} is mirrored, and never cut")
    tree = _open_tree(name, config, _secrets, clock)
    return WeightsFolder(tree, model=config.model, revision=config.revision)


def _open_command(
    name: str, config: configured.SourceConfig, _secrets: Secrets, clock: Clock
) -> Source:
    from drkit.sources.command import CommandOutput

    assert isinstance(config, configured.CommandSource)
    return CommandOutput(name, config.argv, filename=config.filename, clock=clock, cwd=config.cwd)


def _open_qdrant(
    name: str, config: configured.SourceConfig, secrets: Secrets, clock: Clock
) -> Source:
    from drkit.sources.qdrant import QdrantServer
    from drkit.sources.qdrant_rest import QdrantRest

    assert isinstance(config, configured.QdrantSource)
    api_key = secrets.resolve(config.api_key).reveal() if config.api_key else None
    rest = QdrantRest(config.url, api_key, clock=clock)
    return QdrantServer(name, rest, collections=config.collections, clock=clock)


OPENERS: Mapping[str, Opener] = {
    "tree": _open_tree,
    "weights": _open_weights,
    "command": _open_command,
    "qdrant": _open_qdrant,
}
