"""Secrets from afar: a program, a Vault, AWS (moto) and Google, each with what goes wrong there.

Vault and Google's Secret Manager are stand-ins of the published APIs (tests/tools).
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import secret_servers
from gcs_server import GcsServer
from raw_server import RawServer, drips, hangs
from s3_servers import moto_url

from drkit.clock import ManualClock
from drkit.errors import MissingCredential
from drkit.io_policy import Deadline
from drkit.secrets import aws, command, google, vault
from drkit.secrets.catalog import ReferencedSecrets, open_secrets
from drkit.secrets.resolvers import MOST_BYTES, Places

PYTHON = shlex.quote(sys.executable)
AT_VAULT = "vault:kv/drkit/store#password"
GOOGLE_SERVER = "CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER"
BRISK = Deadline(connect_s=1, total_s=0.5)


@pytest.fixture
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (aws, command, google, vault):
        monkeypatch.setattr(module, "SECRET_LOOKUP", BRISK)


@pytest.fixture
def at_vault() -> Iterator[dict[str, str]]:
    with secret_servers.serving(secret_servers.Vault) as url:
        yield {"VAULT_ADDR": url, "VAULT_TOKEN": "by-token"}


@pytest.fixture(scope="module")
def at_google(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    tokens = GcsServer()
    key = tmp_path_factory.mktemp("key") / "key.json"
    key.write_text(tokens.key_file())
    secret_servers.SecretManager.tokens = tokens
    with secret_servers.serving(secret_servers.SecretManager) as url:
        yield {GOOGLE_SERVER: url, "GOOGLE_APPLICATION_CREDENTIALS": str(key)}
    tokens.close()


@pytest.fixture(scope="module")
def at_aws() -> dict[str, str]:
    import boto3

    keys = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "key", "AWS_REGION": "eu-west-1"}
    client = boto3.client(
        "secretsmanager",
        endpoint_url=moto_url(),
        region_name="eu-west-1",
        aws_access_key_id="id",
        aws_secret_access_key="key",
    )
    client.create_secret(Name="drkit/password", SecretString="planted-in-aws\n")
    client.create_secret(Name="drkit/json", SecretString='{"a": "of json", "b": 1}')
    client.create_secret(Name="drkit/binary", SecretBinary=b"\xff\xfe")
    return {**keys, "AWS_ENDPOINT_URL_SECRETS_MANAGER": moto_url()}


def found(folder: Path, environ: dict[str, str], *reference: str) -> str:
    return open_secrets(folder, environ=environ).resolve(reference).reveal()


def missing(folder: Path, environ: dict[str, str], *reference: str) -> str:
    looked = open_secrets(folder, environ=environ).missing(reference)
    assert looked is not None
    return looked


def test_what_a_program_prints_is_the_secret(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("by the folder's file\n")
    assert found(tmp_path, dict(os.environ), "cmd:cat there") == "by the folder's file"
    shell = f'cmd:{PYTHON} -c \'print("$HOME;", end="\\r\\n")\''
    assert found(tmp_path, dict(os.environ), shell) == "$HOME;"


@pytest.mark.usefixtures("brisk")
@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("false", "ended with status 1"),
        ("no-such-program-here", "cannot be started"),
        ("true", "is empty"),
        (f"{PYTHON} -c 'print(\"x\" * {MOST_BYTES + 1})'", "more than any secret"),
        (f"{PYTHON} -c 'import sys; sys.stdout.buffer.write(bytes([255]))'", "not text"),
        ("sleep 60", "did not end within"),
    ],
)
def test_a_program_that_prints_no_secret_says_why(tmp_path: Path, line: str, what: str) -> None:
    assert what in missing(tmp_path, dict(os.environ), f"cmd:{line}")


@pytest.mark.usefixtures("brisk")
def test_a_program_that_is_stopped_leaves_no_child_behind(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text(f"#!/bin/sh\nsleep 61 &\necho $! > {tmp_path / 'child'}\nsleep 62\n")
    script.chmod(0o700)
    told = tmp_path / "child"
    while not (told.exists() and told.read_text()):  # it had no time to start one
        assert "did not end" in missing(tmp_path, dict(os.environ), f"cmd:{script}")
    child = int(told.read_text())
    for _ in range(1000):
        state = subprocess.run(["ps", "-o", "stat=", "-p", str(child)], capture_output=True)
        if not state.stdout.strip() or state.stdout.startswith(b"Z"):
            return
        time.sleep(0.05)
    raise AssertionError("the program's child lives on")


def test_what_a_program_says_on_standard_error_is_not_repeated(tmp_path: Path) -> None:
    line = f"cmd:{PYTHON} -c 'import sys; sys.exit(\"planted\")' planted"
    assert "planted" not in missing(tmp_path, dict(os.environ), line)


def test_a_vault_answers_a_token_and_a_role(tmp_path: Path, at_vault: dict[str, str]) -> None:
    assert found(tmp_path, at_vault, AT_VAULT) == "planted-in-vault"
    assert found(tmp_path, at_vault, "vault:kv/data/drkit/store#password") == "planted-in-vault"
    role = {"VAULT_ADDR": at_vault["VAULT_ADDR"], "VAULT_ROLE_ID": "role"}
    assert found(tmp_path, {**role, "VAULT_SECRET_ID": "secret"}, AT_VAULT) == "planted-in-vault"
    assert "not let in (400)" in missing(tmp_path, {**role, "VAULT_SECRET_ID": "no"}, AT_VAULT)


@pytest.mark.parametrize(
    ("reference", "change", "what"),
    [
        ("vault:kv/drkit/store#other", {}, "has no other"),
        ("vault:kv/drkit/store#number", {}, "is not text"),
        ("vault:kv/drkit/store#empty", {}, "is empty"),
        ("vault:kv/drkit/none#x", {}, "no such secret"),
        ("vault:kv/drkit/old#x", {}, "newest version is deleted"),
        ("vault:kv/drkit/store", {}, "MOUNT/PATH#KEY"),
        (AT_VAULT, {"VAULT_TOKEN": "bad"}, "policy lacks"),
        (AT_VAULT, {"VAULT_TOKEN": ""}, "neither $VAULT_TOKEN nor"),
        (AT_VAULT, {"VAULT_ADDR": ""}, "$VAULT_ADDR is not set"),
        (AT_VAULT, {"VAULT_ADDR": "http://vault.example:8200"}, "in the clear"),
        (AT_VAULT, {"VAULT_ADDR": "http://127.0.0.1:1"}, "gave no answer"),
    ],
)
def test_a_vault_that_gives_no_secret_says_why(
    tmp_path: Path, at_vault: dict[str, str], reference: str, change: dict[str, str], what: str
) -> None:
    looked = missing(tmp_path, {**at_vault, **change}, reference)
    assert what in looked
    assert "planted" not in looked and "by-token" not in looked


@pytest.mark.usefixtures("brisk")
@pytest.mark.parametrize("trouble", [hangs, drips])
def test_a_server_that_hangs_or_drips_ends_in_the_next_reference(
    tmp_path: Path, trouble: object, at_google: dict[str, str]
) -> None:
    server = RawServer(trouble)  # type: ignore[arg-type]
    try:
        environ = {
            "VAULT_ADDR": server.url,
            "VAULT_TOKEN": "x",
            "AWS_ENDPOINT_URL_SECRETS_MANAGER": server.url,
            "AWS_REGION": "eu-west-1",
            "AWS_ACCESS_KEY_ID": "id",
            "AWS_SECRET_ACCESS_KEY": "key",
            **at_google,
            GOOGLE_SERVER: server.url,
            "LAST": "the last one",
        }
        chain = (AT_VAULT, "aws-sm:x", "gcp-sm:projects/p/secrets/drkit", "env:LAST")
        assert found(tmp_path, environ, *chain) == "the last one"
        assert server.heard(3)
    finally:
        server.stop()


def test_aws_answers_by_name_and_by_key(tmp_path: Path, at_aws: dict[str, str]) -> None:
    assert found(tmp_path, at_aws, "aws-sm:drkit/password") == "planted-in-aws"
    assert found(tmp_path, at_aws, "aws-sm:drkit/json#a") == "of json"


@pytest.mark.parametrize(
    ("reference", "what"),
    [
        ("aws-sm:drkit/none", "ResourceNotFoundException"),
        ("aws-sm:drkit/json#c", "has no c"),
        ("aws-sm:drkit/json#b", "is not text"),
        ("aws-sm:drkit/password#a", "no JSON object"),
        ("aws-sm:drkit/binary", "is not text"),
    ],
)
def test_aws_that_gives_no_secret_says_why(
    tmp_path: Path, at_aws: dict[str, str], reference: str, what: str
) -> None:
    looked = missing(tmp_path, at_aws, reference)
    assert what in looked
    assert "planted" not in looked
    assert "$AWS_REGION not set" in missing(tmp_path, {**at_aws, "AWS_REGION": ""}, reference)


def test_google_answers_by_version_and_by_key(tmp_path: Path, at_google: dict[str, str]) -> None:
    name = "gcp-sm:projects/p/secrets/drkit"
    assert found(tmp_path, at_google, name) == "planted-in-google"
    assert found(tmp_path, at_google, f"{name}/versions/1#key") == "of version 1"


@pytest.mark.parametrize(
    ("reference", "change", "what"),
    [
        ("gcp-sm:projects/p/secrets/none", {}, "no such secret"),
        ("gcp-sm:projects/p/secrets/bent", {}, "came damaged"),
        ("gcp-sm:drkit", {}, "is not of the form"),
        ("gcp-sm:projects/p/secrets/drkit", {GOOGLE_SERVER: "http://sm.example"}, "in the clear"),
        (
            "gcp-sm:projects/p/secrets/drkit",
            {"GOOGLE_APPLICATION_CREDENTIALS": "/nowhere/key.json"},
            "does not exist",
        ),
    ],
)
def test_google_that_gives_no_secret_says_why(
    tmp_path: Path, at_google: dict[str, str], reference: str, change: dict[str, str], what: str
) -> None:
    looked = missing(tmp_path, {**at_google, **change}, reference)
    assert what in looked
    assert "planted" not in looked and "PRIVATE KEY" not in looked


def test_what_came_from_afar_is_asked_for_once_a_minute(
    tmp_path: Path, at_vault: dict[str, str]
) -> None:
    clock = ManualClock()
    secrets = ReferencedSecrets(Places(at_vault, tmp_path), clock)
    secret_servers.Vault.asked.clear()
    assert secrets.missing((AT_VAULT,)) is None
    assert secrets.resolve((AT_VAULT,)).reveal() == "planted-in-vault"
    assert len(secret_servers.Vault.asked) == 1
    clock.advance(61)
    secrets.resolve((AT_VAULT,))
    assert len(secret_servers.Vault.asked) == 2
    assert "planted" not in repr(vars(secrets))


def test_nothing_is_looked_up_before_it_is_asked_for(
    tmp_path: Path, at_vault: dict[str, str]
) -> None:
    secret_servers.Vault.asked.clear()
    secrets = open_secrets(tmp_path, environ={**at_vault, "FIRST": "x"})
    assert secrets.resolve(("env:FIRST", AT_VAULT)).reveal() == "x"
    assert secret_servers.Vault.asked == []
    with pytest.raises(MissingCredential):
        secrets.resolve(("env:NONE",))
