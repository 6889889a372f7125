"""A tree put together from the text of its entries is the one that encoding all of them gives."""

from __future__ import annotations

import random
from typing import Any

import orjson
import pytest

from drkit.repository.backup.pieces import entry_in, pieces_of, tree_with
from drkit.repository.format.tree import Node, encode_entries, encode_tree

Entry = dict[str, Any]


def node(name: bytes, **more: Any) -> Node:
    content = (bytes(32),)
    return Node(name=name, type="file", mode=0o644, mtime_ns=1, content=content, **more)


def entry(name: str, size: int = 0) -> Entry:
    return {"name": name, "type": "file", "size": size, "content": []}


def tree_of(entries: dict[bytes, Entry]) -> bytes:
    return encode_entries(list(entries.items()))


def test_whatever_comes_and_goes_the_tree_is_as_if_it_were_encoded_whole() -> None:
    rng = random.Random(3)
    held: dict[bytes, Entry] = {}
    for _ in range(300):
        pieces = pieces_of(tree_of(held))
        assert pieces is not None
        assert {name: entry_in(piece) for name, piece in pieces.items()} == held
        come = {}
        for _ in range(rng.randrange(4)):
            name = rng.choice(("a", "b", "é", "},{", "type", "[", "~", " ")) * rng.randrange(1, 4)
            come[name.encode()] = entry(name, rng.randrange(99))
        for name in rng.sample(sorted(held), rng.randrange(len(held) + 1) // 2):
            del pieces[name], held[name]
        held |= come
        assert tree_with(pieces, come.items()) == tree_of(held)


@pytest.mark.parametrize(
    "tree",
    {
        "a quote in a name": encode_tree([node(b'a"b')]),
        "a byte that is no text": encode_tree([node(b"a\xff")]),
        "a line feed": encode_tree([node(b"a\nb")]),
        "two extended attributes": encode_tree(
            [node(b"a", xattrs=(("user.a", b"1"), ("user.b", b"2")))]
        ),
        "characters that Go escapes": b'{"nodes":[{"name":"a\\u003cb","type":"file"}]}\n',
        "another order of keys": b'{"nodes":[{"type":"file","name":"a"}]}\n',
        "a name without a kind": b'{"nodes":[{"name":"a","mode":1}]}\n',
        "a kind that comes later": b'{"nodes":[{"name":"a","mode":1,"x":"","type":"file"}]}\n',
        "one name twice": b'{"nodes":[{"name":"a","type":"file"},{"name":"a","type":"dir"}]}\n',
        "blanks": orjson.dumps({"nodes": [entry("a")]}, option=orjson.OPT_INDENT_2),
        "cut short": encode_tree([node(b"a")])[:-2],
        "nothing": b"",
    }.values(),
)
def test_a_tree_of_which_it_is_not_sure_at_a_glance_has_no_pieces(tree: bytes) -> None:
    assert pieces_of(tree) is None


def test_one_extended_attribute_and_no_entry_at_all_are_no_trouble() -> None:
    for nodes in ([node(b"a", xattrs=(("user.a", b"1"),)), node(b"b")], []):
        tree = encode_tree(nodes)
        pieces = pieces_of(tree)
        assert pieces is not None
        assert tree_with(pieces, ()) == tree
