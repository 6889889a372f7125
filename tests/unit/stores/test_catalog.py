"""Kinds are a closed list; credentials are looked for before a kind is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import TypeAdapter

from drkit.config.stores import StoreConfig
from drkit.errors import MissingCredential, NotInThisVersion
from drkit.secrets.memory import MemorySecrets
from drkit.stores.catalog import open_store
from drkit.stores.folder import FolderStore

CLOUDS = [
    {"kind": "gcs", "bucket": "b", "credentials": "env:A"},
    {"kind": "s3", "bucket": "b", "access_key_id": "env:A", "secret_access_key": "env:B"},
    {
        "kind": "b2",
        "bucket": "b",
        "endpoint": "https://b2.example",
        "application_key_id": "env:A",
        "application_key": "env:B",
    },
]


def parse(value: dict[str, str]) -> StoreConfig:
    adapter: TypeAdapter[StoreConfig] = TypeAdapter(StoreConfig)
    return adapter.validate_python({"role": "backup", **value})


def test_a_folder_opens_below_its_prefix(tmp_path: Path) -> None:
    config = parse({"kind": "folder", "path": str(tmp_path), "prefix": "here/drkit/"})
    store = open_store("disk", config, MemorySecrets())
    assert isinstance(store, FolderStore)
    assert store.name == "disk"
    assert store.root == tmp_path / "here" / "drkit"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("cloud", CLOUDS, ids=lambda cloud: cloud["kind"])
def test_a_missing_credential_is_named_before_the_kind_is_refused(cloud: dict[str, str]) -> None:
    config = parse(cloud)
    with pytest.raises(MissingCredential, match=r"stores\.cloud\..*env:A"):
        open_store("cloud", config, MemorySecrets({"env:B": "x"}))
    with pytest.raises(NotInThisVersion, match=f"not in this version: {cloud['kind']}$"):
        open_store("cloud", config, MemorySecrets({"env:A": "x", "env:B": "x"}))
