"""Locks against deletion, on the filter before Google's emulator and on moto (S13)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import gcs_server
import pytest
import s3_servers

from drkit.stores.interface import Retained

PACK = "repository/data/aa/" + "a" * 64
LOCK = {"object_lock": {"mode": "governance", "days": 30}}


def gcs() -> Any:
    return gcs_server.shared().store(prefix=f"retaining-{datetime.now(UTC).timestamp()}", **LOCK)


def s3() -> Any:
    url = s3_servers.moto_url()
    bucket = s3_servers.make_bucket(url, locked=True)
    return s3_servers.s3_store(url, bucket, delete_versions=True, **LOCK)


def b2() -> Any:
    bucket = s3_servers.make_bucket(s3_servers.moto_url(), locked=True)
    return s3_servers.b2_store(s3_servers.b2_url(), bucket, **LOCK)


@pytest.fixture(params=[gcs, s3, b2], ids=["gcs", "s3", "b2"])
def store(request: pytest.FixtureRequest) -> Iterator[Any]:
    opener: Callable[[], Any] = request.param
    opened = opener()
    yield opened
    opened.close()


def days_left(store: Any, name: str) -> float:
    return float((store.retained_until(name) - datetime.now(UTC)) / timedelta(days=1))


def test_S13_packs_are_locked_when_they_come_and_locks_of_backups_are_not(store: Any) -> None:
    store.put(PACK, b"pack", size_bytes=4)
    store.put("repository/locks/l", b"lock", size_bytes=4)
    assert store.retention == timedelta(days=30)
    assert 29 < days_left(store, PACK) <= 30
    assert store.retained_until("repository/locks/l") is None
    store.delete("repository/locks/l")
    with pytest.raises(Retained) as caught:
        store.delete(PACK)
    assert caught.value.until is not None
    assert store.get(PACK) == b"pack"


def test_S13_a_lock_can_be_made_longer(store: Any) -> None:
    store.put(PACK, b"pack", size_bytes=4)
    until = datetime.now(UTC) + timedelta(days=60)
    store.retain(PACK, until)
    store.retain(PACK, until)
    assert 59 < days_left(store, PACK) <= 60


def test_putting_the_same_pack_again_is_no_error_though_it_is_locked(store: Any) -> None:
    store.put(PACK, b"pack", size_bytes=4)
    store.put(PACK, b"pack", size_bytes=4)
    assert store.get(PACK) == b"pack"
