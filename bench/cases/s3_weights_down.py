"""2 GiB of weights back from a bucket, beside `rclone copy`."""

from __future__ import annotations

from bench.case import Case
from bench.mirrors import BARS, NEEDS_BYTES, down

CASE = Case(
    "s3_weights_down",
    "weights mirror, 2 GiB out of an S3 bucket, the client's cost",
    down,
    bars=BARS,
    needs_bytes=NEEDS_BYTES,
)
