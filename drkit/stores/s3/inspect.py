"""What S3, or what speaks its language, says of a bucket, and of what the credential may do.

S3 has no question "what may I do?": some calls that only read and that drkit never needs are made,
and one that works is too much. Nothing that changes something is ever tried.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from drkit.aws import AwsRefused
from drkit.http_client import NoAnswer
from drkit.io_policy import ADMIN_CALL
from drkit.pace import Allowance
from drkit.stores.inspection import Action, Inspection, LifecycleRule
from drkit.stores.s3.bucket import S3Bucket
from drkit.stores.server_clock import skew_of

# A call that drkit never needs, and the permission that it takes.
_TOO_MUCH = {
    "list_buckets": "s3:ListAllMyBuckets",
    "get_bucket_policy": "s3:GetBucketPolicy",
    "get_bucket_acl": "s3:GetBucketAcl",
}
# Settings that are not there are errors too.
_NONE_SET = {
    "NoSuchLifecycleConfiguration",
    "ObjectLockConfigurationNotFoundError",
    "NoSuchPublicAccessBlockConfiguration",
    "NoSuchBucketPolicy",
}
_FROZEN = {"GLACIER", "DEEP_ARCHIVE"}


def inspect_bucket(bucket: S3Bucket) -> Inspection:
    """About eight small requests. Raises what a bucket that is not there raises."""
    answer = bucket.ask("look at", "the bucket", "head_bucket", Bucket=bucket.bucket)
    headers = answer["ResponseMetadata"].get("HTTPHeaders", {})
    ask = _Asking(bucket)
    known = Inspection(
        place=f"s3://{bucket.bucket}/{bucket.root}",
        prefix=bucket.root,
        deletes_versions=bucket.traits.delete_versions,
        region=answer.get("BucketRegion") or headers.get("x-amz-bucket-region"),
        skew_s=skew_of(headers.get("date"), bucket.clock.now()),
        excess=tuple(right for call, right in _TOO_MUCH.items() if ask.works(call)),
    )
    if (versioning := ask.setting("get_bucket_versioning")) is not None:
        known = replace(known, versioned=versioning.get("Status") == "Enabled")
    if (lifecycle := ask.setting("get_bucket_lifecycle_configuration")) is not None:
        known = replace(known, lifecycle=tuple(_rules(lifecycle.get("Rules", ()))))
    if (lock := ask.setting("get_object_lock_configuration")) is not None:
        known = _with_lock(known, lock.get("ObjectLockConfiguration", {}))
    if (blocked := ask.setting("get_public_access_block")) is not None:
        shut = blocked.get("PublicAccessBlockConfiguration", {})
        known = replace(known, public=not all(shut.get(key) for key in _SHUT))
    return replace(known, unasked=tuple(ask.unasked))


_SHUT = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")


class _Asking:
    """Single questions; one that is refused is noted and stops nothing."""

    def __init__(self, bucket: S3Bucket) -> None:
        self.unasked: list[str] = []
        self._bucket = bucket

    def setting(self, operation: str) -> Mapping[str, Any] | None:
        """The answer; empty where nothing is set; None where it could not be asked."""
        try:
            return self._call(operation)
        except AwsRefused as error:
            if error.code in _NONE_SET:
                return {}
            self.unasked.append(f"{operation}: {error.code}")
        except NoAnswer as error:
            self.unasked.append(f"{operation}: {error.message}")
        return None

    def works(self, operation: str) -> bool:
        """Whether the credential may do it; that nothing is set says that it may ask."""
        try:
            self._call(operation)
        except AwsRefused as error:
            return error.code in _NONE_SET
        except NoAnswer:
            return False
        return True

    def _call(self, operation: str) -> Mapping[str, Any]:
        where = {} if operation == "list_buckets" else {"Bucket": self._bucket.bucket}
        client: Callable[..., Mapping[str, Any]] = self._bucket.client.call
        return client(operation, Allowance(ADMIN_CALL, self._bucket.clock), **where)


def _with_lock(known: Inspection, lock: Mapping[str, Any]) -> Inspection:
    """With default retention in seconds, where the bucket has one."""
    rule = lock.get("Rule", {}).get("DefaultRetention", {})
    days = rule.get("Days", rule.get("Years", 0) * 365)
    enabled = lock.get("ObjectLockEnabled") == "Enabled"
    return replace(known, lockable=enabled, retention_s=days * 86400.0 if days else None)


def _rules(rules: Any) -> Iterator[LifecycleRule]:
    for rule in rules:
        if rule.get("Status") != "Enabled":
            continue
        limits = rule.get("Filter", {})
        prefix = str(
            limits.get("Prefix") or limits.get("And", {}).get("Prefix") or rule.get("Prefix") or ""
        )
        expires = rule.get("Expiration", {})
        if "Days" in expires or "Date" in expires:
            yield LifecycleRule("delete", prefix, expires.get("Days"))
        if old := rule.get("NoncurrentVersionExpiration"):
            yield LifecycleRule("delete", prefix, old.get("NoncurrentDays"), old_only=True)
        for move in rule.get("Transitions", ()):
            action: Action = "thaw" if move.get("StorageClass") in _FROZEN else "cool"
            yield LifecycleRule(action, prefix, move.get("Days"))
        if abort := rule.get("AbortIncompleteMultipartUpload"):
            yield LifecycleRule("abort-uploads", prefix, abort.get("DaysAfterInitiation"))
