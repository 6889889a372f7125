"""A former tree as the text of its entries, so that a folder in which little changed is written
anew without its other entries being read and written one by one.

What is put together is what encoding all entries would give: a tree of which that is not sure at a
glance has no pieces.
"""

from __future__ import annotations

from collections.abc import Iterable

import orjson

from drkit.repository.format.metadata import Entry

_START, _BETWEEN, _END = b'{"nodes":[{"name":"', b'},{"name":"', b"}]}\n"
_BEFORE_NAME = b'{"name":"'
_AFTER_NAME = b'","type":"'
_EMPTY = b'{"nodes":[]}\n'

Pieces = dict[bytes, bytes]
"""By name the entry's text, from behind the quote that begins its name to the last brace."""


def pieces_of(tree: bytes) -> Pieces | None:
    """The entries of a tree blob by their names; None for one that must be read.

    Without a backslash in it no name is escaped, so that a name is its bytes, and what looks like
    the start of an entry is one, or that of a second extended attribute, which has no type.
    """
    if tree == _EMPTY:
        return {}
    if b"\\" in tree or not (tree.startswith(_START) and tree.endswith(_END)):
        return None
    parts = tree[len(_START) : -len(_END)].split(_BETWEEN)
    found = {part.partition(_AFTER_NAME)[0]: part for part in parts}
    if len(found) != len(parts) or b'"' in b"".join(found):
        return None
    return found


def entry_in(piece: bytes) -> Entry:
    """The entry of which this is the text. ValueError when it is none."""
    entry: Entry = orjson.loads(b"%b%b}" % (_BEFORE_NAME, piece))
    return entry


def tree_with(pieces: Pieces, entries: Iterable[tuple[bytes, Entry]]) -> bytes:
    """The tree of `pieces` and `entries`, which have the names as bytes and begin with them."""
    whole = pieces | {name: orjson.dumps(entry)[len(_BEFORE_NAME) : -1] for name, entry in entries}
    if not whole:
        return _EMPTY
    ordered = [piece for _, piece in sorted(whole.items())]
    return b"".join((_START, _BETWEEN.join(ordered), _END))
