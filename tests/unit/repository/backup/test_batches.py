"""Files of several folders are read together, and each folder gets what is its own."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest

from drkit.repository.backup.batches import Batches
from drkit.repository.backup.file_reader import FileReader, ReadFiles, SeenFile


class Reader:
    """Notes what it is given at once."""

    def __init__(self) -> None:
        self.tasks: list[list[list[bytes]]] = []

    def read(self, groups: Sequence[Sequence[SeenFile]]) -> list[ReadFiles]:
        self.tasks.append([[file.name for file in files] for files in groups])
        return [ReadFiles(entries=[(file.name, {}) for file in files]) for files in groups]


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as made:
        yield made


def batches_of(reader: Reader, pool: ThreadPoolExecutor) -> Batches:
    return Batches(cast("FileReader", reader), pool)


def file(name: str, size_bytes: int = 1) -> SeenFile:
    status = os.stat_result((0o100600, 0, 0, 1, 0, 0, size_bytes, 0, 0, 0))
    return SeenFile(b"/" + name.encode(), name.encode(), status, False)


def names(readings: list[Any]) -> list[bytes]:
    return [name for reading in readings for name, _ in reading.result().entries]


def test_few_files_of_many_folders_wait_until_somebody_asks(pool: ThreadPoolExecutor) -> None:
    reader = Reader()
    batches = batches_of(reader, pool)
    first, second = batches.add([file("a"), file("b")]), batches.add([file("c")])
    assert not any(reading.is_done for reading in (*first, *second))
    assert names(second) == [b"c"]
    assert names(first) == [b"a", b"b"]
    assert reader.tasks == [[[b"a", b"b"], [b"c"]]]


def test_many_files_and_large_ones_are_not_waited_with(pool: ThreadPoolExecutor) -> None:
    reader = Reader()
    batches = batches_of(reader, pool)
    many = [file(f"{number:03}") for number in range(100)]
    found = batches.add(many)
    assert names(found[:-1]) == [each.name for each in many[:96]]
    assert [len(task[0]) for task in reader.tasks] == [32, 32, 32]
    large = batches.add([file("large", 5 << 20), file("last")])
    assert names(large[:1]) == [b"large"]
    assert [len(task) for task in reader.tasks[3:]] == [2]  # with what was left of the many
    assert names(found + large) == [each.name for each in many] + [b"large", b"last"]


def test_a_folder_without_files_to_read_asks_for_nothing(pool: ThreadPoolExecutor) -> None:
    reader = Reader()
    batches = batches_of(reader, pool)
    assert batches.add([]) == []
    batches.send()
    assert reader.tasks == []
