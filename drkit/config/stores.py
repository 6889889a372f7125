"""Stores, the repository they hold, and the arbiter."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from drkit.config.fields import Name, Seconds, SecretRef, Strict

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


class _Store(Strict):
    role: Role
    keep: Keep = Keep(within="30d")
    prefix: str = Field("", description="Everything drkit writes lies under this prefix.")
    region: str | None = None


class FolderStore(_Store):
    """A folder on this machine or a mounted disk."""

    kind: Literal["folder"]
    path: str


class GcsStore(_Store):
    """A Google Cloud Storage bucket."""

    kind: Literal["gcs"]
    bucket: str
    credentials: SecretRef = Field(description="Path of a service-account key file.")


class S3Store(_Store):
    """An S3 bucket, or that of any compatible server named by `endpoint`."""

    kind: Literal["s3"]
    bucket: str
    endpoint: str | None = None
    access_key_id: SecretRef
    secret_access_key: SecretRef


class B2Store(_Store):
    """A Backblaze B2 bucket, reached over its S3 API."""

    kind: Literal["b2"]
    bucket: str
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
    path: str


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
