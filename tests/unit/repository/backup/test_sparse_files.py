"""Sparse files: their holes are neither read nor hashed, and they are cut as if they had been."""

from __future__ import annotations

import os
import random
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from drkit.repository.backup.file_reader import FileReader
from drkit.stores.memory import MemoryStore

MIB = 1 << 20


@pytest.fixture
def alone(kit: ModuleType) -> Any:
    return kit.Kit([MemoryStore("gcs")]).init()


def write_sparse(path: Path, size_bytes: int, islands: list[int]) -> bytes:
    """What the file holds, of which 40 KB of noise lie at each of `islands`."""
    rng = random.Random(size_bytes)
    content = bytearray(size_bytes)
    with path.open("wb") as file:
        for at in islands:
            noise = rng.randbytes(min(40_000, size_bytes - at))
            content[at : at + len(noise)] = noise
            file.seek(at)
            file.write(noise)
        file.truncate(size_bytes)
    return bytes(content)


def node_of(alone: Any) -> Any:
    repository = alone.open()
    return repository.find_node(alone.latest(repository).snapshot, "/sncp/image")


@pytest.mark.parametrize(
    ("size_bytes", "islands"),
    [
        (40 * MIB + 123, []),
        (40 * MIB + 1, [40 * MIB - 4096]),
        (56 * MIB, [0, 5 * MIB + 77, 33 * MIB, 33 * MIB + 50_000]),
        (24 * MIB, [16 * MIB]),
    ],
)
def test_a_sparse_file_is_cut_as_the_same_file_without_holes(
    alone: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    size_bytes: int,
    islands: list[int],
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    content = write_sparse(source / "image", size_bytes, islands)
    alone.backup(source)
    sparse = node_of(alone)
    with monkeypatch.context() as patched:
        patched.setattr(FileReader, "_skip_hole", lambda *_arguments: [])
        os.utime(source / "image", ns=(1, 1))
        alone.backup(source)
    assert node_of(alone).content == sparse.content
    assert sparse.size == size_bytes
    alone.restore(tmp_path / "out")
    assert (tmp_path / "out" / "image").read_bytes() == content


def test_a_large_hole_costs_nothing_to_read(
    alone: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    write = 10 * MIB
    size_bytes = 4 << 30
    with (source / "image").open("wb") as file:
        file.write(random.Random(1).randbytes(write))
        file.truncate(size_bytes)
    if (source / "image").stat().st_blocks * 512 > 2 * write:
        return  # a file system without holes
    read = 0
    preadv = os.preadv

    def counted(handle: int, buffers: Any, at: int) -> int:
        nonlocal read
        got = preadv(handle, buffers, at)
        read += got
        return got

    monkeypatch.setattr(os, "preadv", counted)
    report = alone.backup(source)
    assert report.bytes_scanned == size_bytes
    assert read < write + 64 * MIB
    assert report.bytes_added < 2 * write
    assert sum(alone.open().index.find(b).content_bytes for b in node_of(alone).content) == (
        size_bytes
    )
