"""What the answers of S3 mean, and which region an endpoint of B2 is in: no server is asked."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from drkit.aws import AwsKeys, AwsRefused
from drkit.config.stores import S3Store
from drkit.secrets.memory import MemorySecrets
from drkit.stores.interface import ObjectMissing, StoreRefused, StoreUnreachable, VersionChanged
from drkit.stores.s3.errors import TryAgain, explained
from drkit.stores.s3.opening import _region_in, open_s3


def error(status: int, code: str, *, again_501: bool = False) -> Exception:
    refused = AwsRefused("place", status, code, "text", None)
    return explained("s3", "read", "a", refused, again_501=again_501)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (404, "NoSuchKey", ObjectMissing),
        (404, "404", ObjectMissing),
        (404, "NoSuchBucket", StoreRefused),
        (412, "PreconditionFailed", VersionChanged),
        (409, "ConditionalRequestConflict", TryAgain),
        (400, "RequestTimeout", TryAgain),
        (400, "BadDigest", TryAgain),
        (503, "SlowDown", TryAgain),
        (500, "", TryAgain),
        (400, "InvalidArgument", StoreRefused),
        (403, "AccessDenied", StoreRefused),
        (501, "NotImplemented", StoreRefused),
        (200, "InternalError", TryAgain),
    ],
)
def test_an_answer_is_of_one_kind_and_says_what_to_do(
    status: int, code: str, kind: type[Exception]
) -> None:
    found = error(status, code)
    assert type(found) is kind
    assert found.hint  # type: ignore[attr-defined]
    assert "a" in str(found)


def test_a_501_passes_only_where_it_is_said_to() -> None:
    assert isinstance(error(501, "NotImplemented", again_501=True), TryAgain)
    assert isinstance(TryAgain("x", hint="y"), StoreUnreachable)


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_what_failed_on_the_server_may_have_arrived(status: int) -> None:
    found = error(status, "")
    assert isinstance(found, TryAgain)
    assert found.may_have_arrived


@pytest.mark.parametrize(
    ("endpoint", "region"),
    [
        ("https://s3.us-west-004.backblazeb2.com", "us-west-004"),
        ("https://s3.eu-central-003.backblazeb2.com/", "eu-central-003"),
        ("http://127.0.0.1:5000", "us-east-1"),
        ("https://b2.example", "us-east-1"),
    ],
)
def test_the_region_is_read_from_the_endpoint_of_b2(endpoint: str, region: str) -> None:
    assert _region_in(endpoint) == region


def test_keys_are_not_shown() -> None:
    assert "planted" not in repr(AwsKeys("id", "planted-secret", "planted-token"))


def test_without_an_endpoint_it_is_aws_whatever_the_environment_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    config = S3Store.model_validate(
        {
            "kind": "s3",
            "role": "backup",
            "bucket": "example-drkit",
            "region": "eu-west-1",
            "access_key_id": "env:KEY_ID",
            "secret_access_key": "env:KEY",
        }
    )
    secrets = MemorySecrets({"env:KEY_ID": "id", "env:KEY": "planted-secret"})
    url = open_s3("s3", config, secrets).presign("a/b", 60)
    assert urlsplit(url).netloc == "example-drkit.s3.eu-west-1.amazonaws.com"
    assert urlsplit(url).path == "/a/b"
    assert "planted-secret" not in url
