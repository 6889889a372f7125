"""What stores say of themselves: `inspect` on real servers and on the filter before Google's."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import gcs_server
import pytest
import s3_servers

from drkit.stores.folder import FolderStore
from drkit.stores.gcs.inspect import NEEDED, READS_BUCKET, SETS_RETENTION
from drkit.stores.inspection import Inspection, LifecycleRule
from drkit.stores.interface import StoreRefused
from drkit.stores.s3.store import S3Store
from drkit.stores.server_clock import skew_of

DAY_S = 86400.0


def test_cloud_storage_says_its_rules_and_rights() -> None:
    with gcs_server.serving() as server:
        server.rules.permissions = {*NEEDED[1:], READS_BUCKET, "storage.buckets.update"}
        server.rules.date_off_s = 900
        server.set_bucket(
            location="EUROPE-WEST4",
            versioning={"enabled": True},
            softDeletePolicy={"retentionDurationSeconds": "604800"},
            retentionPolicy={"retentionPeriod": "86400"},
            objectRetention={"mode": "Enabled"},
            iamConfiguration={"publicAccessPrevention": "enforced"},
            lifecycle={
                "rule": [
                    {"action": {"type": "Delete"}, "condition": {"age": 30}},
                    {
                        "action": {"type": "Delete"},
                        "condition": {"daysSinceNoncurrentTime": 7, "matchesPrefix": ["here/"]},
                    },
                    {
                        "action": {"type": "SetStorageClass", "storageClass": "ARCHIVE"},
                        "condition": {"age": 90},
                    },
                    {"action": {"type": "AbortIncompleteMultipartUpload"}, "condition": {"age": 1}},
                ]
            },
        )
        found = server.store(prefix="here").inspect()
    assert found.skew_s is not None and 890 < found.skew_s < 910
    assert found == Inspection(
        place=f"gs://{server.bucket}/here/",
        prefix="here/",
        region="europe-west4",
        skew_s=found.skew_s,
        versioned=True,
        soft_delete_s=7 * DAY_S,
        lifecycle=(
            LifecycleRule("delete", "", 30),
            LifecycleRule("delete", "here/", 7, old_only=True),
            LifecycleRule("cool", "", 90),
            LifecycleRule("abort-uploads", "", 1),
        ),
        lockable=True,
        retention_s=DAY_S,
        public=False,
        lacking=NEEDED[:1],
        excess=("storage.buckets.update",),
    )


def test_cloud_storage_whose_settings_may_not_be_read_says_so() -> None:
    with gcs_server.serving() as server:
        server.rules.permissions = set(NEEDED)
        found = server.store().inspect()
        locking = server.store(object_lock={"mode": "governance", "days": 3}).inspect()
    assert (found.lacking, found.excess, found.region) == ((), (), None)
    (unasked,) = found.unasked
    assert READS_BUCKET in unasked
    assert locking.lacking == (SETS_RETENTION,)


def test_a_bucket_that_is_not_there_is_an_error() -> None:
    with gcs_server.serving() as server:
        with pytest.raises(StoreRefused, match="bucket does not exist"):
            server.store(bucket="another").inspect()
    store = s3_servers.s3_store(s3_servers.moto_url(), "no-such-bucket")
    assert isinstance(store, S3Store)
    with pytest.raises(Exception, match="bucket"):
        store.inspect()


def test_s3_says_its_rules_and_rights() -> None:
    url = s3_servers.moto_url()
    bucket = s3_servers.make_bucket(url, locked=True)
    client = s3_servers.plain_client(url)
    client.put_bucket_lifecycle_configuration(
        Bucket=bucket,
        LifecycleConfiguration={
            "Rules": [
                {
                    "ID": "1",
                    "Status": "Enabled",
                    "Filter": {"Prefix": "here/"},
                    "Expiration": {"Days": 30},
                    "NoncurrentVersionExpiration": {"NoncurrentDays": 7},
                    "Transitions": [{"Days": 60, "StorageClass": "GLACIER"}],
                    "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 3},
                },
                {
                    "ID": "2",
                    "Status": "Disabled",
                    "Filter": {"Prefix": ""},
                    "Expiration": {"Days": 1},
                },
            ]
        },
    )
    client.put_object_lock_configuration(
        Bucket=bucket,
        ObjectLockConfiguration={
            "ObjectLockEnabled": "Enabled",
            "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 2}},
        },
    )
    client.put_public_access_block(
        Bucket=bucket,
        PublicAccessBlockConfiguration={
            "BlockPublicAcls": True,
            "IgnorePublicAcls": True,
            "BlockPublicPolicy": True,
            "RestrictPublicBuckets": True,
        },
    )
    store = s3_servers.s3_store(url, bucket, prefix="here")
    assert isinstance(store, S3Store)
    found = store.inspect()
    assert found.skew_s is not None and abs(found.skew_s) < 60
    assert found == Inspection(
        place=f"s3://{bucket}/here/",
        prefix="here/",
        region="us-east-1",
        skew_s=found.skew_s,
        versioned=True,
        lifecycle=(
            LifecycleRule("delete", "here/", 30),
            LifecycleRule("delete", "here/", 7, old_only=True),
            LifecycleRule("thaw", "here/", 60),
            LifecycleRule("abort-uploads", "here/", 3),
        ),
        lockable=True,
        retention_s=2 * DAY_S,
        public=False,
        excess=("s3:ListAllMyBuckets", "s3:GetBucketPolicy", "s3:GetBucketAcl"),
    )


def test_a_folder_says_its_room_and_who_may_write(tmp_path: Path) -> None:
    root = tmp_path / "store"
    found = FolderStore("disk", root).inspect()
    assert found.free_bytes and found.excess == ()
    root.mkdir(mode=0o777)
    root.chmod(0o777)
    assert FolderStore("disk", root).inspect().excess == (
        "any user of this machine may write there",
    )


@pytest.mark.parametrize(
    ("date", "seconds"),
    [("Thu, 01 Jan 2026 00:00:10 GMT", 10.0), ("no date", None), (None, None), ("", None)],
)
def test_a_server_clock_is_compared_by_its_date(date: str | None, seconds: float | None) -> None:
    assert skew_of(date, datetime(2026, 1, 1, tzinfo=UTC)) == seconds
