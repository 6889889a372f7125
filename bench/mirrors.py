"""2 GiB of weights into a bucket and out of it, beside `rclone copy`; only clients are measured."""

from __future__ import annotations

import shutil
from functools import partial

from bench.buckets import (
    BUCKET,
    MIRROR,
    BucketServer,
    deployment,
    model,
    must_be_same,
    rclone_to_bucket,
)
from bench.case import AtMost, Bench, Contender
from bench.tools import drkit, run

BARS = (AtMost("cpu_s", 1.3, stretch=1.0, of="rclone"), AtMost("peak_mb", 400))
NEEDS_BYTES = 7 << 30


def up(bench: Bench) -> list[Contender]:
    """Each time into an empty bucket."""
    source = model(bench)
    server = BucketServer(bench)
    bucket = server.root / BUCKET
    config = bench.root / "drkit" / "schedules.yaml"

    def anew() -> None:
        server.empty()
        deployment(config.parent, source, server)

    copy = rclone_to_bucket(bench, server, "copy", source, f":s3:{BUCKET}/plain")
    return [
        Contender(
            "drkit",
            [drkit(config, "backup")],
            before=anew,
            after=partial(must_be_same, bucket / MIRROR, source),
        ),
        Contender(
            "rclone",
            [copy],
            before=server.empty,
            after=partial(must_be_same, bucket / "plain", source),
        ),
    ]


def down(bench: Bench) -> list[Contender]:
    """Each time into an empty folder."""
    source = model(bench)
    server = BucketServer(bench)
    config = deployment(bench.root / "drkit", source, server)
    run(drkit(config, "backup"))
    out = bench.root / "out"
    empty = partial(shutil.rmtree, out, ignore_errors=True)
    copy = rclone_to_bucket(bench, server, "copy", f":s3:{BUCKET}/{MIRROR}", out)
    return [
        Contender(
            "drkit",
            [drkit(config, "restore", "--target", out)],
            before=empty,
            after=partial(must_be_same, out / "weights", source),
        ),
        Contender("rclone", [copy], before=empty, after=partial(must_be_same, out, source)),
    ]
