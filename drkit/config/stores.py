"""Stores, the repository they hold, and the arbiter."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from drkit.config.fields import LocalPath, Name, Seconds, SecretRef, Strict, check_url

Role = Literal["primary", "backup", "archive"]


class Keep(Strict):
    """restic's keep-rules, applied per store; a snapshot that any rule wants is kept."""

    within: Seconds | None = None
    last: int | None = Field(None, ge=1)
    hourly: int | None = Field(None, ge=1)
    daily: int | None = Field(None, ge=1)
    weekly: int | None = Field(None, ge=1)
    monthly: int | None = Field(None, ge=1)
    yearly: int | None = Field(None, ge=1)
    within_hourly: Seconds | None = Field(None, description="One of each hour, this far back.")
    within_daily: Seconds | None = None
    within_weekly: Seconds | None = None
    within_monthly: Seconds | None = None
    within_yearly: Seconds | None = None
    tags: tuple[str, ...] = Field((), description="Keep what has all of `a,b`. [any of the list]")


class _Store(Strict):
    role: Role
    keep: Keep = Keep(within="30d")
    prefix: str = Field("", description="Everything drkit writes lies under this prefix.")
    region: str | None = None


class FolderStore(_Store):
    """A folder on this machine or a mounted disk."""

    kind: Literal["folder"]
    path: LocalPath


class ObjectLock(Strict):
    """Packs, indexes and snapshots cannot be deleted or replaced for `days` after they came."""

    mode: Literal["governance", "compliance"]
    days: int = Field(ge=1, le=3000)


class _Bucket(_Store):
    """What every bucket has: where it is asked, through what, and how fast."""

    bucket: str
    endpoint: str | None = Field(
        None, description="URL of the server, where it is not the provider's own."
    )
    proxy: str | None = Field(
        None, description="http:// URL of a proxy for this store; none is taken from elsewhere."
    )
    ca_file: LocalPath | None = Field(
        None, description="PEM file of the authorities that are trusted instead of the system's."
    )
    upload_mib_per_s: float | None = Field(None, gt=0, description="Most MiB sent per second.")
    download_mib_per_s: float | None = Field(None, gt=0, description="Most MiB read per second.")
    storage_class: str | None = Field(
        None, description="Class of new objects; one that can be read at once, without a thaw."
    )

    @field_validator("endpoint", "proxy")
    @classmethod
    def _is_url(cls, value: str | None) -> str | None:
        return value if value is None else check_url(value)

    @field_validator("proxy")
    @classmethod
    def _is_plain(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith("http://"):
            raise ValueError("a proxy is asked in the clear: write http://host:port")
        return value


class GcsStore(_Bucket):
    """A Google Cloud Storage bucket."""

    kind: Literal["gcs"]
    credentials: SecretRef | None = Field(
        None,
        description="Path of a service account's key file, or its JSON text; default: this "
        "machine's own, and none at all for an endpoint on this machine.",
    )
    kms_key: str | None = Field(
        None,
        pattern=r"^projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+$",
        description="Key that the server encrypts new objects with (CMEK).",
    )
    object_lock: ObjectLock | None = Field(
        None, description="The bucket must allow retention per object."
    )
    hold: bool = Field(
        False, description="Put a temporary hold on packs, indexes and snapshots, until released."
    )


Checksum = Literal["sha256", "md5"]


class _S3Bucket(_Bucket):
    """What S3 and what speaks its language have in common."""

    object_lock: ObjectLock | None = Field(
        None, description="The bucket must have been made with object lock."
    )
    addressing: Literal["auto", "path", "virtual"] = Field(
        "auto", description="Where the bucket's name goes: into the path, or before the host."
    )


class S3Store(_S3Bucket):
    """An S3 bucket, or that of any compatible server named by `endpoint`."""

    kind: Literal["s3"]
    access_key_id: SecretRef
    secret_access_key: SecretRef
    session_token: SecretRef | None = None
    kms_key_id: str | None = Field(
        None, description="Key that the server encrypts new objects with (SSE-KMS)."
    )
    checksum: Checksum | None = Field(
        None,
        description="What the server checks each upload by; default sha256, or md5 at an endpoint.",
    )
    etag_is_md5: bool | None = Field(
        None, description="Whether ETags are compared; default yes, unless kms_key_id is set."
    )
    delete_versions: bool = Field(
        False, description="Delete all versions of an object, where the bucket keeps versions."
    )


class B2Store(_S3Bucket):
    """A Backblaze B2 bucket, reached over its S3 API."""

    kind: Literal["b2"]
    endpoint: str
    application_key_id: SecretRef
    application_key: SecretRef


StoreConfig = Annotated[FolderStore | GcsStore | S3Store | B2Store, Field(discriminator="kind")]


class RepositoryConfig(Strict):
    """The restic repository that all stores hold."""

    password: SecretRef
    min_copies: int | None = Field(
        None, ge=1, description="Stores that must hold the whole point; default 2, or 1 of 1."
    )


class FolderArbiter(Strict):
    """Lease, epoch and role record in a folder: for one machine only."""

    kind: Literal["folder"]
    path: LocalPath


class StoreArbiter(Strict):
    """Lease, epoch and role record in a store with proven conditional writes."""

    kind: Literal["store"]
    store: Name


class PostgresArbiter(Strict):
    """Lease, epoch and role record in PostgreSQL."""

    kind: Literal["postgres"]
    url: SecretRef


ArbiterConfig = Annotated[
    FolderArbiter | StoreArbiter | PostgresArbiter, Field(discriminator="kind")
]
