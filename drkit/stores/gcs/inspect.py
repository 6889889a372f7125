"""What Cloud Storage says of a bucket, and of what the credential may do there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote, urlencode

from drkit.clock import Clock
from drkit.errors import DrkitError
from drkit.stores.gcs.calls import Calls
from drkit.stores.inspection import Inspection, LifecycleRule
from drkit.stores.server_clock import skew_of

NEEDED = tuple(f"storage.objects.{verb}" for verb in ("create", "delete", "get", "list"))
READS_BUCKET = "storage.buckets.get"
SETS_RETENTION = "storage.objects.setRetention"
TOO_MUCH = (
    "storage.buckets.delete",
    "storage.buckets.update",
    "storage.buckets.setIamPolicy",
    "storage.objects.setIamPolicy",
    "storage.objects.overrideUnlockedRetention",
)
_FIELDS = (
    "location,versioning,softDeletePolicy,lifecycle,retentionPolicy,objectRetention,"
    "iamConfiguration"
)


def inspect_bucket(calls: Calls, prefix: str, clock: Clock, *, locks: bool) -> Inspection:
    """Two requests: what the credential may do, then the bucket's settings.

    `locks`: objects get a retention of their own, which takes a right more.
    """
    needed = (*NEEDED, SETS_RETENTION) if locks else NEEDED
    known = Inspection(place=f"gs://{calls.bucket}/{prefix}", prefix=prefix)
    url = _url(calls)
    answer, skew_s = _granted(calls, (*needed, READS_BUCKET, *TOO_MUCH), clock)
    granted = set(answer.get("permissions") or ())
    known = replace(
        known,
        skew_s=skew_s,
        lacking=tuple(one for one in needed if one not in granted),
        excess=tuple(one for one in TOO_MUCH if one in granted),
    )
    try:
        bucket, _ = _asked(calls, f"{url}?{urlencode({'fields': _FIELDS})}", clock)
    except DrkitError as error:
        return replace(known, unasked=(f"the bucket's settings ({READS_BUCKET}): {error}",))
    return _with_settings(known, bucket)


def skew_seen(calls: Calls, clock: Clock) -> float | None:
    """Seconds that the server's clock is ahead, by an answer that every credential gets."""
    return _granted(calls, NEEDED, clock)[1]


def _granted(
    calls: Calls, permissions: Iterable[str], clock: Clock
) -> tuple[dict[str, Any], float | None]:
    wanted = urlencode([("permissions", one) for one in permissions])
    return _asked(calls, f"{_url(calls)}/iam/testPermissions?{wanted}", clock)


def _url(calls: Calls) -> str:
    return f"{calls.endpoint}/storage/v1/b/{quote(calls.bucket, safe='')}"


def _asked(calls: Calls, url: str, clock: Clock) -> tuple[dict[str, Any], float | None]:
    ends_s = calls.ends_s()
    answer = calls.again(
        lambda: calls.ask("look at the bucket", "GET", url, ends_s=ends_s), ends_s=ends_s
    )
    return answer.json, skew_of(answer.headers.get("Date"), clock.now())


def _with_settings(known: Inspection, bucket: Mapping[str, Any]) -> Inspection:
    retention = _part(bucket, "retentionPolicy").get("retentionPeriod")
    prevention = _part(bucket, "iamConfiguration").get("publicAccessPrevention")
    return replace(
        known,
        region=str(bucket.get("location", "")).lower() or None,
        versioned=bool(_part(bucket, "versioning").get("enabled")),
        soft_delete_s=float(_part(bucket, "softDeletePolicy").get("retentionDurationSeconds", 0)),
        lifecycle=tuple(_rules(_part(bucket, "lifecycle").get("rule", []))),
        lockable=_part(bucket, "objectRetention").get("mode") == "Enabled",
        retention_s=None if retention is None else float(retention),
        public=prevention != "enforced",
    )


def _part(values: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = values.get(key)
    return found if isinstance(found, Mapping) else {}


def _rules(rules: Any) -> Iterator[LifecycleRule]:
    for rule in rules if isinstance(rules, list) else ():
        action, condition = _part(rule, "action"), _part(rule, "condition")
        kind = action.get("type")
        days = condition.get("age", condition.get("daysSinceNoncurrentTime"))
        old_only = condition.get("isLive") is False or any(
            key in condition
            for key in ("daysSinceNoncurrentTime", "numNewerVersions", "noncurrentTimeBefore")
        )
        for prefix in condition.get("matchesPrefix") or [""]:
            if kind == "Delete":
                yield LifecycleRule("delete", prefix, days, old_only)
            elif kind == "SetStorageClass" and action.get("storageClass") != "STANDARD":
                yield LifecycleRule("cool", prefix, days, old_only)
            elif kind == "AbortIncompleteMultipartUpload":
                yield LifecycleRule("abort-uploads", prefix, days)
