"""Kinds are a closed list; credentials are looked for before a kind is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from drkit.config.stores import StoreConfig
from drkit.errors import ConfigError, MissingCredential
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


def parse(value: dict[str, Any]) -> StoreConfig:
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
def test_a_missing_credential_is_named_and_else_the_store_opens(cloud: dict[str, str]) -> None:
    config = parse(cloud)
    with pytest.raises(MissingCredential, match=r"stores\.cloud\..*env:A"):
        open_store("cloud", config, MemorySecrets({"env:B": "x"}))
    store = open_store("cloud", config, MemorySecrets({"env:A": "x", "env:B": "x"}))
    assert store.name == "cloud"
    store.close()


def test_a_token_is_not_sent_in_the_clear() -> None:
    config = parse({"kind": "gcs", "bucket": "b", "endpoint": "http://203.0.113.7:9000"})
    with pytest.raises(ConfigError, match="not https"):
        open_store("cloud", config, MemorySecrets())
    local = parse({"kind": "gcs", "bucket": "b", "endpoint": "http://127.0.0.1:9000"})
    open_store("cloud", local, MemorySecrets()).close()


@pytest.mark.parametrize(
    ("field", "value", "right"),
    [
        ("kms_key", "my-key", "projects/"),
        ("endpoint", "127.0.0.1:9000", "http"),
        ("proxy", "http://me:secret@127.0.0.1:3128", "no password"),
        ("upload_mib_per_s", 0, "greater than 0"),
        ("object_lock", {"mode": "governance", "days": 0}, "greater than or equal to 1"),
    ],
)
def test_a_wrong_field_is_named_with_the_right_form(field: str, value: Any, right: str) -> None:
    with pytest.raises(ValidationError) as caught:
        parse({"kind": "gcs", "bucket": "b", field: value})
    (error,) = caught.value.errors()
    assert field in error["loc"]
    assert right in error["msg"]
