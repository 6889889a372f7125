"""The first schedules.yaml of a deployment, as text with comments. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

PASSWORD_FILE = "restic-password"  # noqa: S105  (a file's name)


@dataclass(frozen=True, slots=True)
class Answers:
    """`stores`: folders that take copies, the first one read first. `password`: its reference."""

    tree: str
    stores: Sequence[str]
    password: str
    every: str


EXAMPLE_ANSWERS = Answers(
    tree="/srv/notes",
    stores=("/mnt/backup/drkit", "/mnt/nas/drkit"),
    password=f"file:{PASSWORD_FILE}",
    every="15m",
)


def starter_text(answers: Answers) -> str:
    """YAML with one tree, a folder store for each of `stores`, a backup and a daily check."""
    stores = "".join(
        f"  copy{number}: {{kind: folder, role: {'backup' if number > 1 else 'primary'}, "
        f"path: {_quoted(path)}}}\n"
        for number, path in enumerate(answers.stores, 1)
    )
    return f"""\
# What is protected, where copies go, and when. `drkit config validate` checks this file, and
# `drkit config schema` prints all that it may hold: buckets, Qdrant, model weights, GPU targets.
drkit: 1

stores:                 # each holds everything by itself; relative paths lie below this folder
{stores}
repository:
  password: {_quoted(answers.password)}   # a reference, never the password

sources:
  files: {{kind: tree, path: {_quoted(answers.tree)}}}

schedules:              # `drkit daemon` runs them; times are in UTC
  backup: {{run: backup, every: {answers.every}}}
  check: {{run: check, cron: "20 4 * * *"}}
"""


def _quoted(text: str) -> str:
    """A double-quoted YAML scalar."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
