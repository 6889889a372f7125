"""The mirror of 2 GiB of weights into a bucket, beside `rclone copy`; only clients are measured."""

from __future__ import annotations

from bench.buckets import (
    BUCKET,
    MIRROR,
    BucketServer,
    deployment,
    model,
    must_be_same,
    rclone_to_bucket,
)
from bench.case import AtMost, Bench, Case, Contender
from bench.tools import drkit


def prepare(bench: Bench) -> list[Contender]:
    source = model(bench)
    server = BucketServer(bench)
    bucket = server.root / BUCKET
    config = bench.root / "drkit" / "schedules.yaml"

    def anew() -> None:
        server.empty()
        deployment(config.parent, source, server)

    return [
        Contender(
            "drkit",
            [drkit(config, "backup")],
            before=anew,
            after=lambda: must_be_same(bucket / MIRROR, source),
        ),
        Contender(
            "rclone",
            [rclone_to_bucket(bench, server, "copy", source, f":s3:{BUCKET}/plain")],
            before=server.empty,
            after=lambda: must_be_same(bucket / "plain", source),
        ),
    ]


CASE = Case(
    "s3_weights_up",
    "weights mirror, 2 GiB into an S3 bucket, the client's cost",
    prepare,
    bars=(AtMost("cpu_s", 1.3, stretch=1.0, of="rclone"), AtMost("peak_mb", 400)),
    needs_bytes=5 << 30,
)
