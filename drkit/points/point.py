"""A recovery point: what `/.drkit/point.json` of a snapshot says. One snapshot, every source."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from drkit.errors import DamagedData

POINT_FILE = "point.json"


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True)


class SourcePart(_Value):
    """One source in the point. `carried`: it was not due or failed, and is as of `cut_at`.

    `unreadable` paths are not in it, `changing` ones as they were read. `dense_share` of it does
    not shrink. `anomalies`: what looks like an accident, compared with the point before.
    """

    kind: str
    path: str
    cut_at: datetime
    files: int
    bytes: int
    facts: Mapping[str, Any] = {}
    unreadable: tuple[str, ...] = ()
    changing: tuple[str, ...] = ()
    dense_share: float | None = None
    anomalies: tuple[str, ...] = ()
    carried: bool = False
    error: str | None = None


class WeightsPart(_Value):
    """A weights mirror that belongs to the point, by the digest of its manifest."""

    model: str
    revision: str
    manifest_digest: str
    files: int
    bytes: int
    stores: tuple[str, ...]
    cut_at: datetime


class GoldenAnswer(_Value):
    """A prompt with the tokens that followed it and the log-probability of each."""

    prompt_token_ids: tuple[int, ...]
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]


class GoldenSet(_Value):
    """What the healthy primary answered; personal data, sealed with the point (K2)."""

    model: str
    server_version: str
    recorded_at: datetime
    answers: tuple[GoldenAnswer, ...]


class Point(_Value):
    """What the snapshot holds. `complete`: every source is cut and every mirror is whole."""

    drkit: int = 1
    service: str | None
    epoch: int
    created_at: datetime
    complete: bool
    sources: Mapping[str, SourcePart]
    weights: Mapping[str, WeightsPart] = {}
    golden: GoldenSet | None = None

    def to_bytes(self) -> bytes:
        return self.model_dump_json(indent=1).encode()


def read_point(content: bytes) -> Point:
    """The point in `content`. Raises `DamagedData` when it is none."""
    try:
        return Point.model_validate_json(content)
    except ValidationError as error:
        raise DamagedData(
            f"point.json cannot be read: {error.error_count()} fields are wrong",
            hint="an older point may be whole: drkit points",
        ) from None


def age_s(point: Point, source: str, now: datetime) -> float | None:
    """Seconds since the source was cut (its RPO if it is lost now); None if it is not in it."""
    part = point.sources.get(source)
    return (now - part.cut_at).total_seconds() if part else None
