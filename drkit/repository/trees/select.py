"""Which snapshots a command means: restic's selectors and filters, over what the stores list.

A selector is `latest`, the start of an id, or either with `:/a/folder` behind it. Filters choose
among all snapshots where no id is named; an id that is named is taken as it is.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from drkit.errors import ConfigError, NoRepository
from drkit.repository.format.snapshot import Snapshot
from drkit.repository.repository import ListedSnapshot

GroupKey = Literal["host", "paths", "tags"]
GROUP_KEYS: tuple[GroupKey, ...] = ("host", "paths", "tags")


@dataclass(frozen=True, slots=True)
class SnapshotFilter:
    """Any of `hosts`, any of the `tags` lists (all of one list), all of `paths`. Empty: every one.

    An empty tag list means snapshots without tags.
    """

    hosts: tuple[str, ...] = ()
    tags: tuple[tuple[str, ...], ...] = ()
    paths: tuple[str, ...] = ()

    def matches(self, snapshot: Snapshot) -> bool:
        return (
            (not self.hosts or snapshot.hostname in self.hosts)
            and (not self.tags or any(_has_tags(snapshot, wanted) for wanted in self.tags))
            and set(self.paths) <= set(snapshot.paths)
        )

    def __str__(self) -> str:
        words = [f"--host {host}" for host in self.hosts]
        words += [f"--tag {','.join(tags)}" for tags in self.tags]
        words += [f"--path {path}" for path in self.paths]
        return " ".join(words)


@dataclass(frozen=True, slots=True)
class Selected:
    """One snapshot and the folder in it that was named; `subfolder` is "/" for all of it."""

    listed: ListedSnapshot
    subfolder: str


@dataclass(frozen=True, slots=True)
class SnapshotGroup:
    """Snapshots that agree in the keys they were grouped by; the others of these are None."""

    host: str | None
    paths: tuple[str, ...] | None
    tags: tuple[str, ...] | None
    snapshots: tuple[ListedSnapshot, ...]


def read_filter(
    hosts: Sequence[str] | None = None,
    tags: Sequence[str] | None = None,
    paths: Sequence[str] | None = None,
) -> SnapshotFilter:
    """The filter of what was typed: `--tag a,b` is one list, several --tag are alternatives."""
    return SnapshotFilter(
        tuple(hosts or ()),
        tuple(read_tags(text) for text in tags or ()),
        tuple(posixpath.normpath(path) for path in paths or ()),
    )


def read_tags(text: str) -> tuple[str, ...]:
    """The tags of a comma-separated list; none for an empty text."""
    return tuple(tag for tag in (part.strip() for part in text.split(",")) if tag)


def choose(
    snapshots: Sequence[ListedSnapshot],
    selector: str = "latest",
    wanted: SnapshotFilter = SnapshotFilter(),
) -> Selected:
    """The one snapshot that `selector` names; `latest` is the newest that `wanted` lets pass, by
    `ListedSnapshot.order`.

    Raises `NoRepository` when there is none, `ConfigError` for an id that names none or several.
    """
    name, _, folder = selector.partition(":")
    subfolder = posixpath.normpath("/" + folder.strip("/"))
    if name == "latest":
        allowed = [listed for listed in snapshots if wanted.matches(listed.snapshot)]
        if not allowed:
            among = f" that matches {wanted}" if str(wanted) else ""
            raise NoRepository(
                f"there is no snapshot{among} among {len(snapshots)}",
                hint="drkit snapshots lists them; drkit backup makes one",
            )
        newest = max(allowed, key=lambda listed: listed.order)
        return Selected(newest, subfolder)
    return Selected(_by_id(snapshots, name), subfolder)


def choose_all(
    snapshots: Sequence[ListedSnapshot],
    selectors: Sequence[str] = (),
    wanted: SnapshotFilter = SnapshotFilter(),
) -> tuple[ListedSnapshot, ...]:
    """All snapshots that `wanted` lets pass, or those that are named: each once, oldest first.

    Raises what `choose` raises, and `ConfigError` for a selector with a folder or for filters
    that named ids would leave without effect.
    """
    if not selectors:
        found = {listed.id: listed for listed in snapshots if wanted.matches(listed.snapshot)}
    else:
        if str(wanted) and "latest" not in selectors:
            raise ConfigError(
                f"{wanted} has no effect where ids are named",
                hint="name the snapshots, or give filters; not both",
            )
        found = {}
        for selector in selectors:
            if ":" in selector:
                raise ConfigError(
                    f"{selector!r}: a folder cannot be named here", hint="leave away what follows :"
                )
            listed = choose(snapshots, selector, wanted).listed
            found[listed.id] = listed
    return tuple(sorted(found.values(), key=lambda listed: listed.order))


def read_group_keys(text: str) -> tuple[GroupKey, ...]:
    """The keys of "host,paths"; none for "". ConfigError says what is accepted."""
    wanted = read_tags(text)
    # restic takes both numbers of each word
    names = [{"hosts": "host", "path": "paths", "tag": "tags"}.get(key, key) for key in wanted]
    if unknown := [name for name in names if name not in GROUP_KEYS]:
        raise ConfigError(
            f"snapshots cannot be grouped by {unknown[0]!r}",
            hint=f"write one or more of {', '.join(GROUP_KEYS)}, separated by commas",
        )
    return tuple(key for key in GROUP_KEYS if key in names)


def group(
    snapshots: Sequence[ListedSnapshot], keys: Sequence[GroupKey]
) -> tuple[SnapshotGroup, ...]:
    """The snapshots in groups that agree in `keys` (paths and tags as sets), sorted by them."""
    found: dict[tuple[str, tuple[str, ...], tuple[str, ...]], list[ListedSnapshot]] = {}
    for listed in snapshots:
        snapshot = listed.snapshot
        key = (
            snapshot.hostname if "host" in keys else "",
            tuple(sorted(set(snapshot.paths))) if "paths" in keys else (),
            tuple(sorted(set(snapshot.tags))) if "tags" in keys else (),
        )
        found.setdefault(key, []).append(listed)
    return tuple(
        SnapshotGroup(
            host if "host" in keys else None,
            paths if "paths" in keys else None,
            tags if "tags" in keys else None,
            tuple(members),
        )
        for (host, paths, tags), members in sorted(found.items())
    )


def _has_tags(snapshot: Snapshot, wanted: tuple[str, ...]) -> bool:
    return set(wanted) <= set(snapshot.tags) if wanted else not snapshot.tags


def _by_id(snapshots: Sequence[ListedSnapshot], prefix: str) -> ListedSnapshot:
    matching = [listed for listed in snapshots if prefix and listed.id.startswith(prefix.lower())]
    if len(matching) != 1:
        raise ConfigError(
            f"{prefix!r} names {len(matching) or 'no'} snapshot{'s' if matching else ''}",
            hint="drkit snapshots lists their ids",
        )
    return matching[0]
