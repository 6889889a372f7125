"""2 GiB of weights back from a bucket, beside `rclone copy`; only clients are measured."""

from __future__ import annotations

import shutil

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
from bench.tools import drkit, run


def prepare(bench: Bench) -> list[Contender]:
    source = model(bench)
    server = BucketServer(bench)
    config = deployment(bench.root / "drkit", source, server)
    run(drkit(config, "backup"))
    out = bench.root / "out"

    def empty() -> None:
        shutil.rmtree(out, ignore_errors=True)

    return [
        Contender(
            "drkit",
            [drkit(config, "restore", "--target", out)],
            before=empty,
            after=lambda: must_be_same(out / "weights", source),
        ),
        Contender(
            "rclone",
            [rclone_to_bucket(bench, server, "copy", f":s3:{BUCKET}/{MIRROR}", out)],
            before=empty,
            after=lambda: must_be_same(out, source),
        ),
    ]


CASE = Case(
    "s3_weights_down",
    "weights mirror, 2 GiB out of an S3 bucket, the client's cost",
    prepare,
    bars=(AtMost("cpu_s", 1.3, stretch=1.0, of="rclone"), AtMost("peak_mb", 400)),
    needs_bytes=7 << 30,
)
