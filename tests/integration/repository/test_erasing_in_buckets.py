"""K6 in real buckets: what a versioned bucket, a lock or neither leaves of what was erased."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from s3_servers import make_bucket, moto_url, plain_client, s3_store

from drkit.clock import SystemClock
from drkit.repository.check.structure import check_structure
from drkit.repository.erase.erase import erase, plan_erase
from drkit.repository.erase.standing import ErasureStanding, erasure_standing
from drkit.repository.format.blob import open_blob
from drkit.repository.format.layout import DATA
from drkit.repository.format.pack import read_header
from drkit.repository.prune.prune import PruneOptions, prune
from drkit.repository.restore.lawful import lawful
from drkit.repository.restore.restore import restore_tree

SECRET = b"the diary of user 42 " * 20


class Later(SystemClock):
    days = 0

    def now(self) -> datetime:
        return super().now() + timedelta(days=self.days)

    def sleep(self, seconds: float) -> None:
        """Nobody else is at work in these buckets."""


def erased(kit: ModuleType, source: Path, **fields: Any) -> tuple[Any, str, ErasureStanding, Any]:
    """One bucket with two points, of which a path was erased: the kit, the bucket, how it stands,
    and the first point as it was.
    """
    locked = "object_lock" in fields
    bucket = make_bucket(moto_url(), versioned=fields.pop("versioned", False), locked=locked)
    alone = kit.Kit([s3_store(moto_url(), bucket, **fields)], Later()).init()
    (source / "users").mkdir(parents=True)
    (source / "users" / "42.md").write_bytes(SECRET)
    (source / "users" / "41.md").write_bytes(b"words of 41")
    for text in ("one", "two"):
        (source / "other.md").write_text(text)
        alone.backup(source)
    old = alone.open().snapshots()[0]
    match = lambda path: path == "/sncp/users/42.md"  # noqa: E731
    plan = plan_erase(alone.open(), match, ())
    assert len(plan.rewritten) == 2
    report = erase(alone.open(), match, (), alone.emit, checksum=plan.checksum)
    assert report.behind == {}
    run_prune(alone)
    return alone, bucket, standing(alone), old


def run_prune(alone: Any) -> None:
    options = PruneOptions(
        {"s3": "backup"},
        lambda repository, store: ("own", check_structure(repository, store)),
        hold=timedelta(0),
    )
    prune(alone.open(), options, alone.emit)


def standing(alone: Any) -> ErasureStanding:
    hold = timedelta(0)
    return erasure_standing(alone.open(), {"s3": "backup"}, alone.emit, hold=hold)["s3"]


def held(alone: Any, bucket: str) -> bool:
    """Whether any version of any pack in the bucket holds the secret."""
    client, key = plain_client(moto_url()), alone.open().key
    found = client.list_object_versions(Bucket=bucket).get("Versions", ())
    for one in found:
        if str(one["Key"]).startswith(DATA):
            version = str(one["VersionId"])
            pack = client.get_object(Bucket=bucket, Key=str(one["Key"]), VersionId=version)
            content = pack["Body"].read()
            for blob in read_header(content, key):
                sealed = content[blob.offset : blob.offset + blob.length]
                if open_blob(key, sealed, blob.raw_bytes, blob.id) == SECRET:
                    return True
    return False


def test_K6_a_plain_bucket_has_removed_it(kit: ModuleType, tmp_path: Path) -> None:
    alone, bucket, found, _ = erased(kit, tmp_path / "source")
    assert found.state == "removed"
    assert not held(alone, bucket)


def test_K6_object_lock_retains_it_until_a_date_and_no_restore_shows_it(
    kit: ModuleType, tmp_path: Path
) -> None:
    lock = {"mode": "compliance", "days": 3}
    alone, bucket, found, old = erased(
        kit, tmp_path / "source", object_lock=lock, delete_versions=True
    )
    assert held(alone, bucket)
    assert (found.state, found.why) == ("retained", "object lock")
    assert found.until is not None
    assert abs(found.until - datetime.now(UTC) - timedelta(days=3)) < timedelta(minutes=5)
    assert f"retained until {found.until:%Y-%m-%d}" in str(found)
    repository = alone.open()
    assert old.id in {one.id for one in repository.snapshots()}, "it is locked there"
    node = repository.find_node(old.snapshot, "/sncp")
    options = lawful(repository, old.snapshot, "/sncp")
    restore_tree(repository, node, tmp_path / "out", alone.emit, options)
    assert sorted(path.name for path in (tmp_path / "out" / "users").iterdir()) == ["41.md"]


@pytest.mark.parametrize("rule_days", [None, 5])
def test_K6_a_bucket_that_keeps_versions_has_not_removed_it(
    kit: ModuleType, tmp_path: Path, rule_days: int | None
) -> None:
    alone, bucket, found, _ = erased(kit, tmp_path / "source", versioned=True)
    assert held(alone, bucket), "as a version that a delete left"
    assert (found.state, found.until) == ("retained", None)
    if rule_days is not None:
        rule = {
            "ID": "old",
            "Status": "Enabled",
            "Filter": {"Prefix": ""},
            "NoncurrentVersionExpiration": {"NoncurrentDays": rule_days},
        }
        plain_client(moto_url()).put_bucket_lifecycle_configuration(
            Bucket=bucket, LifecycleConfiguration={"Rules": [rule]}
        )
        found = standing(alone)
        assert found.until is not None
        days = (found.until - datetime.now(UTC)) / timedelta(days=1)
        assert rule_days - 0.1 < days <= rule_days
        alone.clock.days = rule_days + 1
        assert standing(alone).state == "removed"


def test_K6_a_store_that_deletes_versions_has_removed_it(kit: ModuleType, tmp_path: Path) -> None:
    source = tmp_path / "source"
    alone, bucket, found, _ = erased(kit, source, versioned=True, delete_versions=True)
    assert found.state == "removed"
    assert not held(alone, bucket)
