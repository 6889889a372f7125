"""Links that read one object for a while: on a folder, on moto, and on the filter before Google's
emulator, which checks signatures and their end as the published algorithm says (V4)."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gcs_server
import pytest
import s3_servers

from drkit.stores.folder import FolderStore
from drkit.stores.interface import StoreRefused

NAME = "weights/model/a+b c~1.safetensors"
DATA = b"tensors" * 100
WEEK_S = 7 * 86400.0

STORES: dict[str, Callable[[Path], Any]] = {
    "folder": lambda folder: FolderStore("folder", folder / "store"),
    "gcs": lambda folder: gcs_server.shared().store(prefix=f"presigner/{folder.name}"),
    "s3-moto": lambda _folder: s3_servers.moto_store(),
}


@pytest.fixture(params=sorted(STORES))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    opened = STORES[request.param](tmp_path)
    yield opened
    opened.close()


def read(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=20) as answer:
        return bytes(answer.read())


def test_a_link_reads_the_object_without_a_credential(store: Any) -> None:
    store.put(NAME, DATA, size_bytes=len(DATA))
    assert read(store.presign(NAME, 60.0)) == DATA


def test_a_link_may_be_made_before_the_object(store: Any) -> None:
    url = store.presign(NAME, 60.0)
    with pytest.raises((urllib.error.HTTPError, urllib.error.URLError)):
        read(url)
    store.put(NAME, DATA, size_bytes=len(DATA))
    assert read(url) == DATA


@pytest.mark.parametrize("name", ["../x", "/x", "", "a//b"])
def test_a_name_that_put_refuses_gets_no_link(store: Any, name: str) -> None:
    with pytest.raises(StoreRefused):
        store.presign(name, 60.0)


@pytest.mark.parametrize("expires_s", [0.0, -1.0, WEEK_S + 1])
def test_a_cloud_signs_for_a_week_at_most(store: Any, expires_s: float) -> None:
    if isinstance(store, FolderStore):
        assert store.presign(NAME, expires_s)
        return
    with pytest.raises(StoreRefused):
        store.presign(NAME, expires_s)


def test_a_link_of_google_that_was_changed_or_has_ended_reads_nothing() -> None:
    with gcs_server.serving() as server:
        store = server.store()
        store.put(NAME, DATA, size_bytes=len(DATA))
        store.put("weights/other", b"other", size_bytes=5)
        url = store.presign(NAME, 60.0)
        assert read(url) == DATA
        for changed in (
            url.replace("model/", "other/"),
            url.replace("Expires=60", "Expires=600000"),
            url[:-8] + ("0" * 8 if not url.endswith("0" * 8) else "1" * 8),
        ):
            assert changed != url
            with pytest.raises(urllib.error.HTTPError) as refused:
                read(changed)
            assert refused.value.code in (403, 404)
        server.rules.clock_ahead_s = 61
        with pytest.raises(urllib.error.HTTPError):
            read(url)
        store.close()


def test_credentials_that_cannot_sign_say_what_would() -> None:
    with gcs_server.serving() as server:
        store = server.store(key="")
        with pytest.raises(StoreRefused, match="cannot sign") as refused:
            store.presign(NAME, 60.0)
        assert "key file" in refused.value.hint
        store.close()
