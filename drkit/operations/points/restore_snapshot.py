"""Brings back a snapshot, or a folder of it, whoever wrote it: as `restic restore` does."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from drkit.errors import ConfigError, GuardRefused
from drkit.events import Emit
from drkit.repository.repository import Repository
from drkit.repository.restore.compare import Difference, compare_tree
from drkit.repository.restore.lawful import lawful
from drkit.repository.restore.place import look_at_place
from drkit.repository.restore.restore import RestoreOptions, RestoreReport, restore_tree
from drkit.repository.restore.walk import Wanted
from drkit.repository.trees.select import Selected
from drkit.repository.trees.walk import find_entry
from drkit.sources.patterns import BadPattern, Patterns
from drkit.verify.proof import Proof


@dataclass(frozen=True, slots=True)
class Patterned:
    """What was typed: --include, --exclude, and the same without regard to case."""

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    iinclude: Sequence[str] = ()
    iexclude: Sequence[str] = ()

    def wanted(self, at: str) -> Wanted:
        """The choice below `at`, a path in the snapshot, which a leading / in a pattern speaks of.

        Raises ConfigError for a pattern that restic refuses too.
        """
        try:
            return Wanted(
                at,
                tuple(_lists(self.include, self.iinclude)),
                tuple(_lists(self.exclude, self.iexclude)),
            )
        except BadPattern as error:
            raise ConfigError(
                str(error), hint="patterns are restic's: *, ?, [...], ** and a leading /"
            ) from None


def restore_snapshot(
    repository: Repository,
    selected: Selected,
    target: Path,
    emit: Emit,
    *,
    options: RestoreOptions,
    patterns: Patterned = Patterned(),
    known: Sequence[str] = (),
    verify: bool = False,
) -> tuple[RestoreReport, tuple[Proof, ...]]:
    """Restores the folder that `selected` names as `target`: what came back, and its proof.

    Raises what `restore_tree` raises, and ConfigError when the snapshot has no such folder.
    """
    entry = find_entry(repository, selected.listed.snapshot.tree, selected.subfolder)
    if entry.node.subtree is None:
        raise ConfigError(
            f"{entry.path} is no folder", hint=f"name its folder, and --include {entry.path}"
        )
    # patterns speak of what is restored: `ID:/a --include /b` means /a/b, as with restic
    chosen = replace(options, wanted=patterns.wanted("/"))
    chosen = lawful(repository, selected.listed.snapshot, entry.path, chosen)
    may_be_written(target, entry.node.subtree, chosen, known)
    report = restore_tree(repository, entry.node, target, emit, chosen)
    if not verify or options.dry_run:
        return report, ()
    return report, (prove(repository, entry.node.subtree, target, chosen, emit),)


def prove(
    repository: Repository,
    tree_id: str,
    root: Path,
    options: RestoreOptions,
    emit: Emit,
    *,
    subject: str | None = None,
) -> Proof:
    """The proof that what `options` chose of the tree is in `root`, hashed again."""
    differences = [
        difference
        for difference in compare_tree(repository, tree_id, root, emit)
        if _counts(difference, options)
    ]
    if not differences:
        return Proof(
            "tree digests",
            subject or root.name,
            True,
            "every file, mode, time and link is the same",
        )
    first = differences[0]
    return Proof(
        "tree digests",
        subject or root.name,
        False,
        f"{len(differences)} differ, the first: {first.path} {first.what}",
        tuple(difference.path for difference in differences),
    )


def may_be_written(into: Path, tree_id: str, options: RestoreOptions, known: Sequence[str]) -> None:
    """`GuardRefused` for a place in use that `known` (--i-know) does not name (R7)."""
    look_at_place(into, tree_id, in_place=options.in_place)
    if options.in_place and into.name not in known and into.exists() and any(into.iterdir()):
        raise GuardRefused(
            f"{into} is in use, and would be written to",
            hint=f"if that is what you want: --in-place --i-know {into.name}",
        )


def _counts(difference: Difference, options: RestoreOptions) -> bool:
    """Whether a difference is one of what was to be restored."""
    if options.in_place and difference.what == "is not in the point":
        return False
    wanted = options.wanted
    inside = not wanted.include
    path = wanted.at.rstrip("/")
    for part in Path(difference.path).parts:
        path = posixpath.join(path or "/", part)
        if any(patterns.match(path) for patterns in wanted.exclude):
            return False
        inside = inside or any(patterns.match(path) for patterns in wanted.include)
    return inside


def _lists(patterns: Sequence[str], folded: Sequence[str]) -> list[Patterns]:
    lists = [Patterns(patterns, below="/")] if patterns else []
    return lists + ([Patterns(folded, below="/", fold_case=True)] if folded else [])
