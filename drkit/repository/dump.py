"""One file of a snapshot as bytes, or a folder as an archive, in one stream."""

from __future__ import annotations

from typing import IO, Literal

from drkit.errors import ConfigError
from drkit.repository.browse import entries, find_entry
from drkit.repository.dump_content import contents
from drkit.repository.repository import Repository

Archive = Literal["tar", "zip"]


def dump(
    repository: Repository, tree_id: str, path: str, out: IO[bytes], archive: Archive = "tar"
) -> None:
    """Writes what lies at `path` below the tree: a file as it was, a folder as `archive`.

    Raises ConfigError for what is neither, `DamagedData` when a part of it is lost everywhere;
    what was written until then is no whole copy.
    """
    entry = find_entry(repository, tree_id, path)
    if entry.node.type == "file":
        for content in contents(repository, entry.node):
            out.write(content)
        return
    if entry.node.subtree is None:
        raise ConfigError(
            f"{entry.path} is a {entry.node.type}", hint="dump gives files and folders"
        )
    below = entries(repository, entry.node.subtree, entry.path)
    if archive == "zip":
        from drkit.repository.dump_zip import write_zip

        write_zip(repository, below, out)
    else:
        from drkit.repository.dump_tar import write_tar

        write_tar(repository, below, out)
