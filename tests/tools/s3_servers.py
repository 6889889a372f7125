"""S3 servers on loopback, and stores on buckets of theirs."""

from __future__ import annotations

import atexit
import itertools
import os
import shutil
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from b2_proxy import B2Proxy
from listening import Server, free_port, start

from drkit.config.stores import B2Store, S3Store
from drkit.io_policy import STORE_REQUEST, Deadline, Retry
from drkit.secrets.memory import MemorySecrets
from drkit.stores.interface import Store
from drkit.stores.s3.opening import Pace, open_b2, open_s3

SECRETS = MemorySecrets({"env:KEY_ID": "drkit", "env:KEY": "drkit-test-secret"})
BRISK = Pace(STORE_REQUEST, Retry(tries=6, first_s=0.01, most_s=0.05))
"""As patient as in earnest, but quick to ask again."""

_numbers = itertools.count(1)


@cache
def moto_url() -> str:
    """Moto's S3 server, started once in this process."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    atexit.register(server.stop)
    host, port = server.get_host_and_port()
    return f"http://{host}:{port}"


@cache
def b2_url() -> str:
    """B2's rules in front of moto, without passing trouble."""
    proxy = B2Proxy(moto_url())
    atexit.register(proxy.stop)
    return proxy.url


@cache
def plain_client(url: str) -> Any:
    """The SDK as it comes, to look at a server past the adapter."""
    import boto3

    return boto3.client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="drkit",
        aws_secret_access_key="drkit-test-secret",
    )


def make_bucket(url: str, *, versioned: bool = False, locked: bool = False) -> str:
    """The name of a new bucket at `url`, which is no B2 proxy."""
    name = f"drkit-{os.getpid()}-{next(_numbers)}"
    client = plain_client(url)
    client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=locked)
    if versioned:
        client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    return name


def s3_config(url: str, bucket: str, **fields: object) -> S3Store:
    return S3Store.model_validate(
        {
            "kind": "s3",
            "role": "backup",
            "bucket": bucket,
            "endpoint": url,
            "access_key_id": "env:KEY_ID",
            "secret_access_key": "env:KEY",
            **fields,
        }
    )


def s3_store(url: str, bucket: str, *, pace: Pace = BRISK, **fields: object) -> Store:
    return open_s3("s3", s3_config(url, bucket, **fields), SECRETS, pace=pace)


def b2_store(url: str, bucket: str, *, pace: Pace = BRISK, **fields: object) -> Store:
    config = {
        "kind": "b2",
        "role": "archive",
        "bucket": bucket,
        "endpoint": url,
        "application_key_id": "env:KEY_ID",
        "application_key": "env:KEY",
        **fields,
    }
    return open_b2("b2", B2Store.model_validate(config), SECRETS, pace=pace)


@cache
def shared_bucket(*, versioned: bool) -> str:
    """One for all tests that use prefixes of their own."""
    return make_bucket(moto_url(), versioned=versioned)


def moto_store() -> Store:
    """An empty store below a prefix."""
    return s3_store(moto_url(), make_bucket(moto_url()), checksum="sha256", prefix="here/drkit")


def b2_proxy_store() -> Store:
    """An empty store."""
    return b2_store(b2_url(), make_bucket(moto_url(), versioned=True))


def rclone_binary() -> str | None:
    """An rclone that can serve S3: the one of this environment, or the system's."""
    beside = Path(sys.executable).parent / "rclone"
    return str(beside) if beside.exists() else shutil.which("rclone")


def start_rclone(binary: str, root: Path) -> Server:
    """`rclone serve s3` on the folder `root`, which holds a folder for each bucket."""
    port = free_port()
    root.mkdir(parents=True, exist_ok=True)
    argv = [binary, "serve", "s3", "--addr", f"127.0.0.1:{port}"]
    argv += ["--auth-key", "drkit,drkit-test-secret", "--vfs-cache-mode", "off", str(root)]
    environment = {**os.environ, "RCLONE_CONFIG": str(root.parent / "rclone.conf")}
    return start(argv, port, root.parent / "rclone.log", env=environment).wait()


@cache
def _shared_rclone(binary: str) -> Server:
    server = start_rclone(binary, Path(tempfile.mkdtemp(prefix="rclone-")) / "data")
    atexit.register(server.stop)
    return server


def rclone_store() -> Store:
    """An empty store on rclone's server, which ignores conditions and keeps no versions."""
    binary = rclone_binary()
    if binary is None:
        pytest.skip("not installed: rclone")
    url = _shared_rclone(binary).url
    return s3_store(url, make_bucket(url))


def impatient(*, total_s: float, min_bytes_per_s: int = 0, tries: int = 1) -> Pace:
    """For tests of deadlines."""
    return Pace(
        Deadline(connect_s=1, total_s=total_s, min_bytes_per_s=min_bytes_per_s),
        Retry(tries=tries, first_s=0.01, most_s=0.05),
    )
