"""drkit's own notes in a store, which no hash names: drkit.json and RESTORE.txt. Pure.

Which copy is right is told by what it says and by how many stores say the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from drkit.repository.format.chunker import ChunkerSettings
from drkit.repository.format.layout import DRKIT, RESTORE_TXT, restore_text

NOTES = (DRKIT, RESTORE_TXT)


def right_note(name: str, copies: Iterable[bytes], repository_id: str) -> bytes | None:
    """The right one of the stores' copies of the note; None when that cannot be told."""
    counts = Counter(copy for copy in copies if _says_something(name, copy, repository_id))
    if name == RESTORE_TXT and (expected := restore_text(repository_id)) in counts:
        return expected
    ranked = counts.most_common(2)
    if not ranked or (len(ranked) == 2 and ranked[0][1] == ranked[1][1]):
        return None
    return ranked[0][0]


def _says_something(name: str, content: bytes, repository_id: str) -> bool:
    if name == RESTORE_TXT:
        return repository_id.encode() in content
    try:
        ChunkerSettings.from_json(content)
    except (ValueError, KeyError, TypeError, AttributeError):
        return False
    return True
