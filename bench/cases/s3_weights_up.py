"""The mirror of 2 GiB of weights into a bucket, beside `rclone copy`."""

from __future__ import annotations

from bench.case import Case
from bench.mirrors import BARS, NEEDS_BYTES, up

CASE = Case(
    "s3_weights_up",
    "weights mirror, 2 GiB into an S3 bucket, the client's cost",
    up,
    bars=BARS,
    needs_bytes=NEEDS_BYTES,
)
