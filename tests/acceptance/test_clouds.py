"""The shipped deployment on three clouds that answer on loopback: only endpoints differ.

Everything else is as in earnest: the real command, its wiring, its adapters, and stock restic.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest
import real_command
from b2_proxy import B2Proxy
from gcs_server import GcsServer, serving
from listening import free_port, running_standin
from s3_servers import make_bucket, moto_url, plain_client

from drkit.config.load import load_config
from drkit.service.jobs import plan_jobs
from drkit.standins.stack import fill_qdrant, make_model, make_tree

pytest.importorskip("qdrant_edge", reason="the engine comes with drkit[qdrant]")

PROJECT = Path(__file__).resolve().parents[2]
PASSWORD = "correct horse battery staple"
KEYS = {
    "AWS_ACCESS_KEY_ID": "drkit-s3",
    "AWS_SECRET_ACCESS_KEY": "planted-s3-secret",
    "B2_APPLICATION_KEY_ID": "drkit-b2",
    "B2_APPLICATION_KEY": "planted-b2-secret",
    "RESTIC_PASSWORD": PASSWORD,
    "QDRANT_API_KEY": "planted-qdrant-secret",
}


class Clouds:
    """Three buckets, the sources, and the shipped configuration pointed at them."""

    def __init__(self, folder: Path, gcs: GcsServer, b2: B2Proxy, qdrant_url: str) -> None:
        self.folder = folder
        self.gcs = gcs
        self.b2 = b2
        self.s3_bucket = make_bucket(moto_url())
        self.b2_bucket = make_bucket(moto_url(), versioned=True)
        key_file = folder / "gcs-key.json"
        key_file.write_text(gcs.key_file())
        self.keys = {**KEYS, "GOOGLE_APPLICATION_CREDENTIALS": str(key_file)}
        self._write_schedules(qdrant_url)

    def drkit(self, *words: str) -> tuple[int, str]:
        return real_command.said(self.folder, *words, **self.keys)

    def done(self, *words: str) -> str:
        code, said = self.drkit(*words)
        assert code == 0, said
        return said

    def names(self, bucket: str) -> set[str]:
        client = plain_client(moto_url())
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return {item["Key"] for page in pages for item in page.get("Contents", ())}

    def _write_schedules(self, qdrant_url: str) -> None:
        text = (PROJECT / "schedules.yaml").read_text()
        for before, after in (
            (
                "    bucket: example-drkit\n    region: us-central1\n",
                f"    bucket: {self.gcs.bucket}\n    endpoint: {self.gcs.url}\n",
            ),
            (
                "    bucket: example-drkit\n    region: us-east-1\n",
                f"    bucket: {self.s3_bucket}\n    endpoint: {moto_url()}\n",
            ),
            ("    bucket: example-drkit-archive\n", f"    bucket: {self.b2_bucket}\n"),
            ("https://s3.us-west-004.backblazeb2.com", self.b2.url),
            ("/srv/sncp", str(self.folder / "sncp")),
            ("/srv/gateway/history", str(self.folder / "history")),
            ("/srv/models/Qwen3-4B", str(self.folder / "model")),
            ("https://example.us-east4-0.gcp.cloud.qdrant.io:6333", qdrant_url),
        ):
            assert text.count(before) == 1, before
            text = text.replace(before, after)
        (self.folder / "schedules.yaml").write_text(text)
        shutil.copytree(PROJECT / "runbooks", self.folder / "runbooks")


@pytest.fixture(scope="module")
def qdrant_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("qdrant")
    with running_standin("qdrant", folder, "--data", folder / "data") as server:
        fill_qdrant(server.url, seed=7)
        yield server.url


@pytest.fixture(scope="module")
def clouds(tmp_path_factory: pytest.TempPathFactory, qdrant_url: str) -> Iterator[Clouds]:
    """With one point, in all three."""
    folder = tmp_path_factory.mktemp("clouds")
    make_tree(folder / "sncp", seed=1, files=200)
    make_tree(folder / "history", seed=2, files=100)
    make_model(folder / "model", seed=3)
    b2 = B2Proxy(moto_url(), seed=5, trouble_share=0.03)
    try:
        with serving("example-drkit") as gcs:
            made = Clouds(folder, gcs, b2, qdrant_url)
            made.done("init")
            made.done("backup")
            yield made
    finally:
        b2.stop()


def same(one: Path, other: Path) -> bool:
    words = ["diff", "-r", "--no-dereference", str(one), str(other)]
    return subprocess.run(words, stdout=subprocess.DEVNULL).returncode == 0


def test_the_shipped_deployment_lives_on_three_clouds_by_their_endpoints_alone(
    clouds: Clouds, tmp_path: Path
) -> None:
    place = clouds.folder
    (place / "sncp" / "identity.md").write_text("changed since\n")
    said = clouds.done("backup", "-v")
    said += clouds.done("check", "--read-data", "-v")
    out = tmp_path / "out"
    said += clouds.done("restore", "--target", str(out), "--verify", "-v")
    for source in ("sncp", "history"):
        assert same(place / source, out / source)
    assert same(place / "model", out / "weights")
    assert list((out / "qdrant").rglob("*.snapshot"))

    rows = clouds.done("snapshots", "--json").splitlines()
    listed = [json.loads(row) for row in rows if row.startswith("{")]
    assert sum(set(row.get("stores", ())) == {"gcs", "s3", "b2"} for row in listed) >= 2

    s3, b2 = clouds.names(clouds.s3_bucket), clouds.names(clouds.b2_bucket)
    assert "RESTORE.txt" in s3 & b2
    assert any(name.endswith("/manifest.json") for name in s3)
    assert not any(name.startswith("weights/") for name in b2)
    # what B2 never takes was never sent to it; what passes was asked again
    assert clouds.b2.said
    assert set(clouds.b2.said) <= {"SlowDown", "NotImplemented"}

    for secret in ("planted-", PASSWORD, "PRIVATE KEY"):
        assert secret not in said
        for path in (place / ".drkit").rglob("*"):
            assert not path.is_file() or secret.encode() not in path.read_bytes(), path


def flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def days_between_turns(digest: str, today: date) -> int:
    """In how many days a file is read once, so that it is not its turn today, nor tomorrow."""
    turn, day = int(digest[:8], 16), today.toordinal()
    return next(n for n in range(3, 99) if turn % n not in (day % n, (day + 1) % n))


def test_the_scheduled_check_mends_weights_of_one_cloud_from_the_other_when_their_turn_comes(
    clouds: Clouds,
) -> None:
    jobs, _ = plan_jobs(load_config(clouds.folder / "schedules.yaml").schedules)
    (scheduled,) = (job.arguments for job in jobs if job.run == "check")
    schedules = clouds.folder / "schedules.yaml"
    shipped = schedules.read_text()
    shard = next((clouds.folder / "model").glob("*-00002-*.safetensors"))
    sound = shard.read_bytes()
    days = days_between_turns(sha256(sound).hexdigest(), datetime.now(UTC).date())
    text = re.sub(r"(read_all_within|elsewhere_within): \w+", rf"\1: {days}d", shipped)
    assert text.count(f"_within: {days}d") == 2
    s3 = plain_client(moto_url())
    (key,) = (name for name in clouds.names(clouds.s3_bucket) if name.endswith(f"/{shard.name}"))
    at_s3 = {"Bucket": clouds.s3_bucket, "Key": key}
    s3.put_object(**at_s3, Body=flip(sound, 1_000_000))
    try:
        schedules.write_text(text)
        said = clouds.done(*scheduled)
        assert shard.name not in said
        assert s3.get_object(**at_s3)["Body"].read() == flip(sound, 1_000_000)

        log = clouds.folder / ".drkit" / "check" / "weights" / "weights.json"
        noted = json.loads(log.read_bytes())
        for store in noted["stores"].values():  # the days go by, and no check is made
            store |= {"since": f"{date.fromisoformat(store['since']) - timedelta(days)}"}
        log.write_text(json.dumps(noted))
        said = clouds.done(*scheduled)
    finally:
        schedules.write_text(shipped)
    (told,) = (line for line in said.splitlines() if shard.name in line and "put back" in line)
    assert told.startswith("s3: ")
    assert told.endswith("put back from gcs")
    assert s3.get_object(**at_s3)["Body"].read() == sound
    for store in ("s3", "gcs"):
        read = rf"^weights in {store}: every file was read within the last [12] of {days} days$"
        assert re.search(read, said, re.MULTILINE)


def test_any_one_cloud_alone_gives_everything_back(clouds: Clouds, tmp_path: Path) -> None:
    shutil.rmtree(clouds.folder / ".drkit")  # another machine
    schedules = clouds.folder / "schedules.yaml"
    whole = schedules.read_text()
    dead = f"http://127.0.0.1:{free_port()}"
    endpoints = {"s3": moto_url(), "gcs": clouds.gcs.url, "b2": clouds.b2.url}
    try:
        for alive in endpoints:
            text = whole
            for name, url in endpoints.items():
                if name != alive:
                    text = text.replace(f"endpoint: {url}\n", f"endpoint: {dead}\n")
            assert text.count(dead) == 2
            schedules.write_text(text)
            out = tmp_path / alive
            clouds.done("restore", "--source", "sncp", "--target", str(out))
            assert same(clouds.folder / "sncp", out / "sncp")
    finally:
        schedules.write_text(whole)


@pytest.mark.needs("restic")
def test_stock_restic_reads_and_writes_the_bucket_of_s3(clouds: Clouds, tmp_path: Path) -> None:
    environment = {**clouds.keys, "PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    repository = ["-r", f"s3:{moto_url()}/{clouds.s3_bucket}/repository", "--no-cache"]
    place = clouds.folder

    def restic(*words: str) -> str:
        argv = ["restic", *repository, *words]
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=100)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "no errors were found" in restic("check", "--read-data")
    restic("restore", "latest", "--target", str(tmp_path / "by-restic"))
    assert same(place / "sncp", tmp_path / "by-restic" / "sncp")
    assert same(place / "history", tmp_path / "by-restic" / "history")
    restic("backup", "--host", "elsewhere", str(place / "sncp"))
    assert "elsewhere" in clouds.done("snapshots")
