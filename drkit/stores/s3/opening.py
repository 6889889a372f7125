"""Configuration to a store on S3, on what speaks its language, or on B2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from drkit.aws import AwsClient, AwsKeys
from drkit.clock import Clock, SystemClock
from drkit.config import stores as configured
from drkit.http_wire import Route, Wire
from drkit.io_policy import STORE_REQUEST, STORE_RETRY, Deadline, Retry
from drkit.pace import Throttle
from drkit.stores.interface import Credentials
from drkit.stores.s3.bucket import Lock, S3Bucket, Traits
from drkit.stores.s3.conditional import ConditionalS3Store
from drkit.stores.s3.store import S3Store

_MIB = 1024 * 1024
_LOCKS: dict[str, Literal["GOVERNANCE", "COMPLIANCE"]] = {
    "governance": "GOVERNANCE",
    "compliance": "COMPLIANCE",
}


@dataclass(frozen=True, slots=True)
class Pace:
    """How patient requests are; tests are not."""

    deadline: Deadline = STORE_REQUEST
    retry: Retry = STORE_RETRY


def open_s3(
    name: str, config: configured.S3Store, secrets: Credentials, *, pace: Pace | None = None
) -> S3Store:
    token = config.session_token
    keys = AwsKeys(
        secrets.resolve(config.access_key_id).reveal(),
        secrets.resolve(config.secret_access_key).reveal(),
        None if token is None else secrets.resolve(token).reveal(),
    )
    encryption = (
        {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": config.kms_key_id}
        if config.kms_key_id
        else {}
    )
    etag_is_md5 = config.etag_is_md5
    traits = Traits(
        # Of strangers only MD5 can be expected: some keep other checksums without a look.
        checksum=config.checksum or ("md5" if config.endpoint else "sha256"),
        etag_is_md5=not config.kms_key_id if etag_is_md5 is None else etag_is_md5,
        delete_versions=config.delete_versions,
        put_fields={**_class(config), **encryption},
        lock=_lock(config),
    )
    region = config.region or "us-east-1"
    return ConditionalS3Store(_bucket(name, config, keys, region, traits, pace or Pace()))


def open_b2(
    name: str, config: configured.B2Store, secrets: Credentials, *, pace: Pace | None = None
) -> S3Store:
    """B2 refuses conditional headers and SHA-256, always keeps versions, and says 501 at times."""
    keys = AwsKeys(
        secrets.resolve(config.application_key_id).reveal(),
        secrets.resolve(config.application_key).reveal(),
    )
    traits = Traits(
        checksum="md5",
        delete_versions=True,
        again_501=True,
        put_fields=_class(config),
        lock=_lock(config),
    )
    region = config.region or _region_in(config.endpoint)
    return S3Store(_bucket(name, config, keys, region, traits, pace or Pace()))


def _bucket(
    name: str,
    config: configured.S3Store | configured.B2Store,
    keys: AwsKeys,
    region: str,
    traits: Traits,
    pace: Pace,
) -> S3Bucket:
    clock: Clock = SystemClock()
    wire = Wire(
        Route(proxy=config.proxy, ca_file=config.ca_file),
        clock=clock,
        sending=_throttle(config.upload_mib_per_s, clock),
        receiving=_throttle(config.download_mib_per_s, clock),
    )
    addressing = config.addressing
    if addressing == "auto":
        # A server's name rarely has one below it for each bucket, and certificates of AWS cover
        # one label. Left to itself, the SDK signs URLs for AWS's global name, which redirects.
        addressing = "path" if config.endpoint or "." in config.bucket else "virtual"
    client = AwsClient(
        "s3",
        region=region,
        keys=keys,
        wire=wire,
        endpoint=config.endpoint,
        addressing=addressing,
        takes_crc32=traits.checksum != "md5",
    )
    return S3Bucket(
        name,
        client,
        bucket=config.bucket,
        prefix=config.prefix,
        traits=traits,
        clock=clock,
        deadline=pace.deadline,
        retry=pace.retry,
    )


def _class(config: configured.S3Store | configured.B2Store) -> dict[str, str]:
    return {"StorageClass": config.storage_class} if config.storage_class else {}


def _lock(config: configured.S3Store | configured.B2Store) -> Lock | None:
    lock = config.object_lock
    return None if lock is None else Lock(_LOCKS[lock.mode], lock.days)


def _throttle(mib_per_s: float | None, clock: Clock) -> Throttle | None:
    return None if mib_per_s is None else Throttle(mib_per_s * _MIB, clock)


def _region_in(endpoint: str) -> str:
    """The second label of the host, as in https://s3.us-west-004.backblazeb2.com (B2 signs it)."""
    host = endpoint.split("://", 1)[-1].split("/", 1)[0].split(":", 1)[0].split(".")
    return host[1] if len(host) == 4 and host[0] == "s3" else "us-east-1"
