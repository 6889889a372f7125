"""What `Conditional` promises, executed on every adapter. To add one: its row in `STORES`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import gcs_server
import pytest
import s3_servers

from drkit.errors import GuardRefused
from drkit.stores.conditional import prove
from drkit.stores.inspection import Dated
from drkit.stores.interface import ObjectMissing, VersionChanged
from drkit.stores.memory import MemoryStore

STORES: dict[str, Callable[[Path], Any]] = {
    "gcs": lambda folder: gcs_server.shared().store(prefix=f"conditional-{folder.name}"),
    "memory": lambda _folder: MemoryStore(),
    "s3-moto": lambda _folder: s3_servers.moto_store(),
}


@pytest.fixture(params=sorted(STORES))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    opened = STORES[request.param](tmp_path)
    yield opened
    opened.close()


def test_the_first_create_wins_and_the_second_changes_nothing(store: Any) -> None:
    version = store.put_if_absent("arbiter/a", b"first")
    with pytest.raises(VersionChanged):
        store.put_if_absent("arbiter/a", b"second")
    found = store.read_versioned("arbiter/a")
    assert (found.data, found.version) == (b"first", version)


def test_a_version_is_replaced_once(store: Any) -> None:
    first = store.put_if_absent("arbiter/a", b"first")
    second = store.replace_if("arbiter/a", b"second", first)
    assert second != first
    with pytest.raises(VersionChanged):
        store.replace_if("arbiter/a", b"late", first)
    assert store.read_versioned("arbiter/a").data == b"second"
    assert store.replace_if("arbiter/a", b"third", second)


def test_the_same_bytes_are_another_version(store: Any) -> None:
    first = store.put_if_absent("arbiter/a", b"same")
    second = store.replace_if("arbiter/a", b"same", first)
    assert store.read_versioned("arbiter/a").version == second


def test_what_is_not_there_is_not_replaced(store: Any) -> None:
    with pytest.raises(ObjectMissing):
        store.read_versioned("arbiter/a")
    version = store.put_if_absent("arbiter/a", b"x")
    store.delete("arbiter/a")
    with pytest.raises(VersionChanged):
        store.replace_if("arbiter/a", b"y", version)
    assert list(store.list("arbiter/")) == []


# Moto compares and writes in two steps, between which another thread may come.
@pytest.mark.parametrize("store", ["gcs", "memory"], indirect=True)
def test_of_many_writers_at_a_barrier_one_wins_each_round(store: Any) -> None:
    version = store.put_if_absent("arbiter/a", b"0")
    for number in range(3):
        barrier = threading.Barrier(4)
        won: list[str] = []

        def write(me: int, number: int = number, version: str = version) -> None:
            barrier.wait(timeout=20)
            with suppress(VersionChanged):
                won.append(store.replace_if("arbiter/a", b"%d-%d" % (number, me), version))

        writers = [threading.Thread(target=write, args=(me,)) for me in range(4)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join(timeout=30)
        assert len(won) == 1
        assert store.read_versioned("arbiter/a").version == won[0]
        version = won[0]


def test_a_store_that_compares_is_proved_and_left_as_it_was(store: Any) -> None:
    store.put("a", b"x", size_bytes=1)
    prove(store)
    assert [info.name for info in store.list("")] == ["a"]


@pytest.mark.parametrize("store", ["gcs", "s3-moto"], indirect=True)
def test_T1_a_server_says_what_time_it_is(store: Any) -> None:
    assert isinstance(store, Dated)
    skew_s = store.clock_skew_s()
    assert skew_s is not None
    assert abs(skew_s) < 60


def test_a_server_that_ignores_conditions_is_found_out() -> None:
    store: Any = s3_servers.rclone_store()
    try:
        with pytest.raises(GuardRefused, match="conditional writes do not hold"):
            prove(store)
        assert list(store.list("")) == []
    finally:
        store.close()
