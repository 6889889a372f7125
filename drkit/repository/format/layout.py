"""Where things lie below a store's prefix, and the note that tells how to restore without drkit."""

from __future__ import annotations

ROOT = "repository/"
CONFIG = f"{ROOT}config"
DRKIT = f"{ROOT}drkit.json"
KEYS = f"{ROOT}keys/"
DATA = f"{ROOT}data/"
INDEX = f"{ROOT}index/"
SNAPSHOTS = f"{ROOT}snapshots/"
LOCKS = f"{ROOT}locks/"
RESTORE_TXT = "RESTORE.txt"
# What drkit remembers of a store lies beside restic's folder, where restic never looks; one
# listing of `EVERYTHING` shows both.
EVERYTHING = "repository"
BESIDE = "repository-drkit/"
DELETIONS = f"{BESIDE}deletions/"
PRUNES = f"{BESIDE}prunes/"
LEDGER = f"{BESIDE}ledger"


def pack_name(pack_id: str) -> str:
    return f"{DATA}{pack_id[:2]}/{pack_id}"


def restore_text(repository_id: str) -> bytes:
    return f"""This store was written by drkit. You do not need drkit to get your data back.

repository/   a plain restic repository (format version 2), id {repository_id}
weights/      model weights as plain files; manifest.json beside them lists size and SHA-256

With restic 0.14 or newer and the repository's password (replace STORE by this folder or bucket):

    restic -r STORE/repository snapshots
    restic -r STORE/repository restore latest --target /some/empty/folder
    restic -r STORE/repository check --read-data

In what comes back, each source is a folder of its own, and .drkit/point.json says when each was
cut and what it held. A Qdrant shard snapshot is restored by uploading it to
/collections/NAME/shards/ID/snapshots/upload?priority=snapshot; collection.json beside it holds
the collection's settings and aliases.
""".encode()
