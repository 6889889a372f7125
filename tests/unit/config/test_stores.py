"""What a store in schedules.yaml may say, and what it is told when it is wrong."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from drkit.config.stores import StoreConfig

S3 = {
    "kind": "s3",
    "role": "backup",
    "bucket": "b",
    "access_key_id": "env:A",
    "secret_access_key": "env:B",
}
B2 = {
    "kind": "b2",
    "role": "archive",
    "bucket": "b",
    "endpoint": "https://b2.example",
    "application_key_id": "env:A",
    "application_key": "env:B",
}


def parse(value: dict[str, object]) -> object:
    adapter: TypeAdapter[StoreConfig] = TypeAdapter(StoreConfig)
    return adapter.validate_python(value)


@pytest.mark.parametrize("store", [S3, B2], ids=["s3", "b2"])
def test_all_but_bucket_and_credentials_may_be_left_out(store: dict[str, object]) -> None:
    parse(store)
    parse(
        {
            **store,
            "prefix": "here",
            "proxy": "http://proxy.example:3128",
            "ca_file": "ca.pem",
            "upload_mib_per_s": 2.5,
            "download_mib_per_s": 100,
            "storage_class": "STANDARD_IA",
            "object_lock": {"mode": "compliance", "days": 30},
            "addressing": "virtual",
        }
    )


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("endpoint", "minio.example:9000", "no URL of a server"),
        ("endpoint", "ftp://minio.example", "no URL of a server"),
        ("endpoint", "https://user:secret@minio.example", "no user and no password"),
        ("proxy", "https://proxy.example", "http://host:port"),
        ("upload_mib_per_s", 0, "greater than 0"),
        ("object_lock", {"mode": "governance", "days": 0}, "greater than or equal to 1"),
        ("object_lock", {"mode": "forever", "days": 1}, "governance"),
        ("checksum", "crc32", "sha256"),
        ("session_token", "a-token-in-the-clear", "never as its value"),
    ],
)
def test_what_is_wrong_is_said(field: str, value: object, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        parse({**S3, field: value})


def test_b2_has_no_keys_of_its_own_for_encryption_and_no_choice_of_checksum() -> None:
    for field, value in (("kms_key_id", "k"), ("checksum", "sha256"), ("delete_versions", False)):
        with pytest.raises(ValidationError, match="Extra inputs"):
            parse({**B2, field: value})
