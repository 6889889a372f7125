"""The policy in docs/how-to/s3-and-b2.md is enough for all that a store is asked to do."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from listening import free_port, running
from s3_servers import s3_config

from drkit.secrets.memory import MemorySecrets
from drkit.stores.interface import ObjectMissing, Store, StoreRefused
from drkit.stores.s3.opening import open_s3
from drkit.stores.s3.store import S3Store
from drkit.stores.s3.upload import abort_abandoned

PAGE = Path(__file__).resolve().parents[3] / "docs" / "how-to" / "s3-and-b2.md"
_CALLS_BEFORE_AUTH = 4


def documented_policy() -> dict[str, Any]:
    found = re.search(r"```json\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    policy: dict[str, Any] = json.loads(found.group(1))
    return policy


@contextmanager
def store_under(policy: dict[str, Any], folder: Path) -> Iterator[Store]:
    """A store whose key may do what `policy` says; the server checks signature and policy."""
    port = free_port()
    argv = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    how = {
        "cwd": folder,
        "env": {**os.environ, "INITIAL_NO_AUTH_ACTION_COUNT": str(_CALLS_BEFORE_AUTH)},
    }
    with running(argv, port, folder / "moto.log", **how) as server:
        anybody = {
            "aws_access_key_id": "x",
            "aws_secret_access_key": "x",
            "endpoint_url": server.url,
        }
        boto3.client("s3", region_name="us-east-1", **anybody).create_bucket(Bucket="example-drkit")
        iam = boto3.client("iam", region_name="us-east-1", **anybody)
        iam.create_user(UserName="drkit")
        iam.put_user_policy(UserName="drkit", PolicyName="drkit", PolicyDocument=json.dumps(policy))
        key = iam.create_access_key(UserName="drkit")["AccessKey"]
        secrets = MemorySecrets(
            {"env:KEY_ID": key["AccessKeyId"], "env:KEY": key["SecretAccessKey"]}
        )
        config = s3_config(server.url, "example-drkit", checksum="sha256")
        store = open_s3("s3", config, secrets)
        yield store
        store.close()


def whole_life(store: Store) -> None:
    """Everything that a store is asked to do."""
    assert isinstance(store, S3Store)
    large = 17 << 20
    store.put("a", b"small", size_bytes=5)
    store.put("b", iter([bytes(large)]), size_bytes=large)
    assert store.get("a", offset=1, length=2) == b"ma"
    assert store.stat("b").size_bytes == large
    assert {info.name for info in store.list("")} == {"a", "b"}
    with pytest.raises(ObjectMissing):
        store.get("c")
    store.delete("a")
    with pytest.raises(StoreRefused):
        store.put("d", iter([b"short"]), size_bytes=large)


def takes_back_what_was_left(store: Store) -> None:
    assert isinstance(store, S3Store)
    bucket = store._bucket
    begun = bucket.ask("write", "e", "create_multipart_upload", **bucket.place("e"))
    upload = {**bucket.place("e"), "UploadId": begun["UploadId"]}
    later = bucket.clock.now().replace(year=2100)
    assert abort_abandoned(bucket, later) == 1
    with pytest.raises(ObjectMissing):
        bucket.ask("look at", "e", "list_parts", **upload)


def test_the_documented_policy_is_enough(tmp_path: Path) -> None:
    with store_under(documented_policy(), tmp_path) as store:
        whole_life(store)
        takes_back_what_was_left(store)


def test_the_server_of_this_test_does_refuse(tmp_path: Path) -> None:
    policy = documented_policy()
    for part in policy["Statement"]:
        part["Action"] = [action for action in part["Action"] if action != "s3:DeleteObject"]
    with store_under(policy, tmp_path) as store:
        store.put("a", b"x", size_bytes=1)
        with pytest.raises(StoreRefused, match="AccessDenied") as caught:
            store.delete("a")
        assert "docs/how-to/s3-and-b2.md" in caught.value.hint
        assert store.get("a") == b"x"
