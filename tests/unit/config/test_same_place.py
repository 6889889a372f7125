"""Two copies in one place are one."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter

from drkit.config.same_place import in_one_place
from drkit.config.stores import StoreConfig

READ: TypeAdapter[StoreConfig] = TypeAdapter(StoreConfig)
KEYS = {"access_key_id": "env:A", "secret_access_key": "env:B"}
FOLDER = {"kind": "folder", "path": "/mnt/disk"}
S3 = {"kind": "s3", "bucket": "b", "region": "eu-west-1", **KEYS}
OWN = {**S3, "endpoint": "http://127.0.0.1:9000"}
GCS = {"kind": "gcs", "bucket": "b"}


def found(*stores: dict[str, Any]) -> list[tuple[str | int, ...]]:
    named = {f"s{i}": READ.validate_python({"role": "backup", **s}) for i, s in enumerate(stores)}
    return [path for path, _, _ in in_one_place(named)]


@pytest.mark.parametrize(
    ("one", "other", "field"),
    [
        (FOLDER, {**FOLDER, "path": "/mnt/./disk/"}, "path"),
        ({**FOLDER, "path": "/mnt", "prefix": "disk"}, FOLDER, "path"),
        (S3, {**S3, "prefix": "/"}, "bucket"),
        (OWN, {**OWN, "endpoint": "http://127.0.0.1:9000/"}, "bucket"),
        (GCS, GCS, "bucket"),
    ],
)
def test_the_second_store_in_one_place_is_named(
    one: dict[str, Any], other: dict[str, Any], field: str
) -> None:
    assert found(one, other) == [("stores", "s1", field)]


def test_stores_that_lie_apart_are_taken() -> None:
    apart = [FOLDER, {**FOLDER, "path": "/mnt/disk2"}, {**FOLDER, "prefix": "p"}]
    assert found(*apart, S3, {**S3, "prefix": "p"}, {**S3, "bucket": "c"}, OWN, GCS) == []
