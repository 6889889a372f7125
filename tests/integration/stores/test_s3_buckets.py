"""Stores on real S3 servers: what lies in the bucket, seen past the adapter."""

from __future__ import annotations

import hashlib
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from b2_proxy import B2Proxy
from listening import Server
from s3_servers import (
    b2_store,
    b2_url,
    make_bucket,
    moto_url,
    plain_client,
    rclone_binary,
    s3_store,
    start_rclone,
)

from drkit.errors import GuardRefused
from drkit.stores.conditional import prove
from drkit.stores.interface import Conditional, Retained, StoreRefused
from drkit.stores.s3.store import S3Store
from drkit.stores.s3.upload import abort_abandoned


@pytest.fixture(scope="module")
def rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    binary = rclone_binary()
    if binary is None:
        pytest.skip("not installed: rclone")
    server = start_rclone(binary, tmp_path_factory.mktemp("rclone") / "data")
    yield server
    server.stop()


def versions(bucket: str) -> list[tuple[str, str]]:
    """(kind, key) of all versions and marks in a bucket of moto's."""
    found = plain_client(moto_url()).list_object_versions(Bucket=bucket)
    return [
        (kind, str(item["Key"]))
        for kind in ("Versions", "DeleteMarkers")
        for item in found.get(kind, ())
    ]


def head(bucket: str, key: str) -> dict[str, Any]:
    found: dict[str, Any] = plain_client(moto_url()).head_object(Bucket=bucket, Key=key)
    return found


def test_deleting_on_b2_deletes_every_version_and_every_mark() -> None:
    bucket = make_bucket(moto_url(), versioned=True)
    store = b2_store(b2_url(), bucket)
    for data in (b"one", b"two", b"three"):
        store.put("a", data, size_bytes=len(data))
    plain_client(moto_url()).delete_object(Bucket=bucket, Key="a")
    store.put("ab", b"x", size_bytes=1)
    assert len(versions(bucket)) == 5
    store.delete("a")
    assert versions(bucket) == [("Versions", "ab")]
    assert [info.name for info in store.list("")] == ["ab"]


def test_deleting_on_s3_leaves_versions_to_the_bucket_unless_told_otherwise() -> None:
    bucket = make_bucket(moto_url(), versioned=True)
    for delete_versions, left in ((False, 2), (True, 0)):
        store = s3_store(moto_url(), bucket, delete_versions=delete_versions)
        store.put("a", b"x", size_bytes=1)
        store.delete("a")
        assert len(versions(bucket)) == left


def test_S13_a_locked_object_is_retained_until_its_date_and_says_so() -> None:
    bucket = make_bucket(moto_url(), locked=True)
    store = b2_store(b2_url(), bucket, object_lock={"mode": "compliance", "days": 3})
    name = "repository/data/ab/pack"
    store.put(name, b"pack", size_bytes=4)
    until = datetime.now(UTC) + timedelta(days=3)
    with pytest.raises(Retained, match=f"is retained until {until:%Y-%m-%d}") as caught:
        store.delete(name)
    assert caught.value.until is not None
    assert abs(caught.value.until - until) < timedelta(minutes=1)
    assert store.get(name) == b"pack"


def test_S13_only_packs_indexes_and_snapshots_are_locked() -> None:
    bucket = make_bucket(moto_url(), locked=True)
    store = s3_store(
        moto_url(), bucket, object_lock={"mode": "governance", "days": 3}, delete_versions=True
    )
    locked = ["repository/data/ab/1", "repository/index/1", "repository/snapshots/1"]
    free = ["repository/locks/1", "repository/keys/1", "repository/config", "weights/m/r/f"]
    for name in (*locked, *free):
        store.put(name, b"x", size_bytes=1)
        assert ("ObjectLockMode" in head(bucket, name)) == (name in locked)
    for name in free:
        store.delete(name)
    assert sorted(info.name for info in store.list("")) == locked


def test_class_and_encryption_key_are_those_of_the_configuration() -> None:
    bucket = make_bucket(moto_url())
    store = s3_store(moto_url(), bucket, storage_class="STANDARD_IA", kms_key_id="key-1")
    store.put("small", b"x", size_bytes=1)
    store.put("large", iter([bytes(17 << 20)]), size_bytes=17 << 20)
    for key in ("small", "large"):
        found = head(bucket, key)
        assert found["StorageClass"] == "STANDARD_IA"
        assert found["ServerSideEncryption"] == "aws:kms"
        assert str(found["SSEKMSKeyId"]).endswith("key-1")


@pytest.mark.parametrize("checksum", ["sha256", "md5"])
def test_a_large_stream_goes_in_parts_and_comes_back_whole(checksum: str) -> None:
    bucket = make_bucket(moto_url())
    store = s3_store(moto_url(), bucket, checksum=checksum)
    pieces = [bytes([number]) * 5_000_001 for number in range(9)]
    whole = b"".join(pieces)
    store.put("a", iter(pieces), size_bytes=len(whole))
    assert hashlib.sha256(store.get("a")).digest() == hashlib.sha256(whole).digest()
    assert head(bucket, "a")["ETag"].endswith('-3"')


def test_a_large_stream_that_fails_leaves_neither_object_nor_parts() -> None:
    bucket = make_bucket(moto_url())
    store = s3_store(moto_url(), bucket)

    def breaking() -> Iterator[bytes]:
        for _ in range(5):
            yield bytes(5 << 20)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.put("a", breaking(), size_bytes=40 << 20)
    with pytest.raises(StoreRefused):
        store.put("a", iter([bytes(5 << 20)] * 5), size_bytes=40 << 20)
    assert list(store.list("")) == []
    assert "Uploads" not in plain_client(moto_url()).list_multipart_uploads(Bucket=bucket)


def test_parts_that_a_killed_writer_left_are_taken_back_after_a_day() -> None:
    client = plain_client(moto_url())
    bucket = make_bucket(moto_url())
    store = s3_store(moto_url(), bucket, prefix="mine")
    assert isinstance(store, S3Store)
    for key in ("mine/left", "theirs/left"):
        begun = client.create_multipart_upload(Bucket=bucket, Key=key)
        client.upload_part(
            Bucket=bucket, Key=key, UploadId=begun["UploadId"], PartNumber=1, Body=b"x"
        )
    now = datetime.now(UTC)
    assert abort_abandoned(store._bucket, now + timedelta(hours=23)) == 0
    assert abort_abandoned(store._bucket, now + timedelta(hours=25)) == 1
    left = client.list_multipart_uploads(Bucket=bucket)["Uploads"]
    assert [upload["Key"] for upload in left] == ["theirs/left"]


def test_a_presigned_url_reads_the_object_without_a_credential(rclone: Server) -> None:
    store = s3_store(rclone.url, make_bucket(rclone.url), prefix="a b/c")
    store.put("weights/model+1", b"weights", size_bytes=7)
    url = store.presign("weights/model+1", 60)  # type: ignore[attr-defined]
    with urllib.request.urlopen(url, timeout=10) as answer:
        assert answer.read() == b"weights"
    assert "drkit-test-secret" not in url
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(url.replace("model%2B1", "other"), timeout=10)


@pytest.mark.parametrize("expires_s", [0, -1, 8 * 24 * 3600])
def test_a_url_for_longer_than_the_provider_allows_is_refused(expires_s: float) -> None:
    store = s3_store(moto_url(), "bucket")
    with pytest.raises(StoreRefused, match="cannot be valid"):
        store.presign("a", expires_s)  # type: ignore[attr-defined]


def test_a_wrong_secret_is_refused_with_what_to_do(rclone: Server) -> None:
    from s3_servers import s3_config

    from drkit.secrets.memory import MemorySecrets
    from drkit.stores.s3.opening import open_s3

    bucket = make_bucket(rclone.url)
    wrong = MemorySecrets({"env:KEY_ID": "drkit", "env:KEY": "not-the-secret"})
    store = open_s3("s3", s3_config(rclone.url, bucket), wrong)
    with pytest.raises(StoreRefused) as caught:
        store.put("a", b"x", size_bytes=1)
    assert "not-the-secret" not in f"{caught.value} {caught.value.hint}"
    assert "secret" in caught.value.hint


def test_a_bucket_that_is_not_there_is_refused_with_its_name() -> None:
    store = s3_store(moto_url(), "no-such-bucket")
    for call in (lambda: list(store.list("")), lambda: store.get("a")):
        with pytest.raises(StoreRefused) as caught:
            call()
        assert "bucket" in caught.value.hint


def test_R1_a_server_that_compares_is_proved_and_one_that_does_not_is_found_out(
    rclone: Server,
) -> None:
    honest = s3_store(moto_url(), make_bucket(moto_url()))
    prove(honest)  # type: ignore[arg-type]
    assert list(honest.list("")) == []
    sloppy = s3_store(rclone.url, make_bucket(rclone.url))
    with pytest.raises(GuardRefused, match="conditional writes do not hold"):
        prove(sloppy)  # type: ignore[arg-type]


def test_R1_b2_offers_no_conditional_writes() -> None:
    offered = [name for name in dir(Conditional) if not name.startswith("_")]
    store = b2_store(b2_url(), "bucket")
    assert offered
    assert not [name for name in offered if hasattr(store, name)]


@pytest.mark.parametrize("seed", range(3))
def test_b2_with_passing_trouble_is_only_slower(seed: int) -> None:
    proxy = B2Proxy(moto_url(), seed=seed, trouble_share=0.2)
    try:
        store = b2_store(proxy.url, make_bucket(moto_url(), versioned=True))
        objects = {f"d/{number}": bytes([number]) * 1000 for number in range(12)}
        for name, data in objects.items():
            store.put(name, data, size_bytes=len(data))
        assert {info.name for info in store.list("")} == set(objects)
        assert {name: store.get(name) for name in objects} == objects
        for name in objects:
            store.delete(name)
        assert list(store.list("")) == []
        assert proxy.said["SlowDown"] + proxy.said["NotImplemented"] > 5
        assert set(proxy.said) <= {"SlowDown", "NotImplemented"}
    finally:
        proxy.stop()


def test_b2_is_never_sent_what_it_refuses() -> None:
    proxy = B2Proxy(moto_url())
    try:
        bucket = make_bucket(moto_url(), locked=True)
        store = b2_store(proxy.url, bucket, object_lock={"mode": "governance", "days": 1})
        store.put("repository/index/a", b"x", size_bytes=1)
        store.put("b", iter([bytes(9 << 20)] * 2), size_bytes=18 << 20)
        store.get("b", offset=5, length=5)
        store.stat("b")
        list(store.list(""))
        store.delete("b")
        with suppress(StoreRefused):
            store.delete("repository/index/a")
        assert dict(proxy.said) == {}
    finally:
        proxy.stop()


def test_the_sdk_as_it_comes_is_refused_by_the_b2_rules() -> None:
    """So that the rules of this proxy are known to bite."""
    from botocore.exceptions import ClientError

    proxy = B2Proxy(moto_url())
    try:
        bucket = make_bucket(moto_url(), versioned=True)
        client = plain_client(proxy.url)
        with pytest.raises(ClientError, match="Unsupported"):
            client.put_object(Bucket=bucket, Key="a", Body=b"x")
        with pytest.raises(ClientError, match=r"Unsupported|Missing"):
            client.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "a"}]})
    finally:
        proxy.stop()
