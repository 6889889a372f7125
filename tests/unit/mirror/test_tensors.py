"""Tensors are hashed in the same pass as their file; a header is never believed."""

from __future__ import annotations

import hashlib
import json
import random
import struct

import pytest

from drkit.mirror.tensors import MOST_HEADER_BYTES, Digests, FileHasher


def make(spans: dict[str, tuple[int, int]], data: bytes) -> bytes:
    header = {name: {"dtype": "U8", "data_offsets": list(span)} for name, span in spans.items()}
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def digests(data: bytes, *, piece: int = 1 << 20, path: str = "m.safetensors") -> Digests:
    hasher = FileHasher(path, len(data))
    for at in range(0, len(data), piece):
        hasher.update(data[at : at + piece])
    return hasher.finish()


@pytest.mark.parametrize("piece", [1, 7, 8, 9, 64, 1 << 20])
def test_each_tensor_is_hashed_whatever_the_pieces_are(piece: int) -> None:
    body = random.Random(1).randbytes(700)
    # The order in the header is not that of the bytes, and one tensor is empty.
    file = make({"b": (300, 700), "none": (300, 300), "a": (0, 300)}, body)
    found = digests(file, piece=piece)
    start = len(file) - 700
    assert found.problem is None
    assert found.sha256 == hashlib.sha256(file).hexdigest()
    assert [(t.name, t.begin - start, t.end - start) for t in found.tensors] == [
        ("a", 0, 300),
        ("none", 300, 300),
        ("b", 300, 700),
    ]
    for tensor in found.tensors:
        assert tensor.sha256 == hashlib.sha256(file[tensor.begin : tensor.end]).hexdigest()


def test_a_file_of_empty_tensors_only_is_whole() -> None:
    found = digests(make({"none": (0, 0)}, b""))
    assert found.problem is None
    assert [tensor.name for tensor in found.tensors] == ["none"]


def test_other_files_have_no_tensors() -> None:
    found = digests(make({"a": (0, 3)}, b"abc"), path="model.bin")
    assert found.tensors == ()
    assert found.problem is None


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("hole", make({"a": (0, 3), "b": (4, 6)}, b"abcdef")),
        ("overlap", make({"a": (0, 4), "b": (3, 6)}, b"abcdef")),
        ("bytes left over", make({"a": (0, 3)}, b"abcdef")),
        ("bytes missing", make({"a": (0, 9)}, b"abcdef")),
        ("backwards", make({"a": (6, 0)}, b"abcdef")),
        ("negative", make({"a": (-3, 6)}, b"abcdef")),
        ("no offsets", struct.pack("<Q", 8) + b'{"a":{}}'),
        ("no object", struct.pack("<Q", 2) + b"[]"),
        ("no JSON", struct.pack("<Q", 4) + b"\xff\xfe{}"),
        ("header past the end", struct.pack("<Q", 100) + b"{}"),
        ("enormous header", struct.pack("<Q", 2**63) + b"{}"),
        ("shorter than a length", b"\x02\x00"),
        ("nothing", b""),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_no_loader_takes_has_a_problem_and_still_a_digest(name: str, file: bytes) -> None:
    found = digests(file, piece=5)
    assert found.tensors == ()
    assert found.problem
    assert found.sha256 == hashlib.sha256(file).hexdigest()


def test_a_header_over_the_bound_is_not_collected() -> None:
    hasher = FileHasher("m.safetensors", 1 << 40)
    hasher.update(struct.pack("<Q", MOST_HEADER_BYTES + 1) + b" " * 100)
    assert "not possible" in str(hasher.finish().problem)
