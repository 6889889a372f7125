"""Is a restored folder what the point holds? Every file is hashed against its blobs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from drkit.events import Emit
from drkit.repository.format.tree import Node
from drkit.repository.repository import Repository
from drkit.repository.restore.compare import compare_tree
from drkit.verify.proof import Proof


def verify_tree(
    repository: Repository,
    node: Node,
    root: Path,
    *,
    subject: str,
    emit: Emit,
    left_out: Callable[[str], bool],
) -> Proof:
    """The proof that the folder `root` is the tree of `node`, less what is `left_out` (K6)."""
    differences = compare_tree(repository, node.subtree or "", root, emit, left_out)
    if not differences:
        return Proof("tree digests", subject, True, "every file, mode, time and link is the same")
    first = differences[0]
    return Proof(
        "tree digests",
        subject,
        False,
        f"{len(differences)} differ, the first: {first.path} {first.what}",
        tuple(difference.path for difference in differences),
    )
