"""Every secret of the deployment is found by its field, and only for what a command needs."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from drkit.config.models import Config
from drkit.config.secret_refs import check_references, references
from drkit.config.stores import RepositoryConfig
from drkit.errors import MissingCredential
from drkit.secrets.memory import MemorySecrets

DEPLOYMENT: dict[str, Any] = {
    "drkit": 1,
    "stores": {
        "one": {"kind": "folder", "role": "primary", "path": "/one"},
        "two": {
            "kind": "s3",
            "role": "backup",
            "bucket": "b",
            "access_key_id": "env:ID",
            "secret_access_key": ["env:SECRET", "file:/secret"],
        },
    },
    "repository": {"password": "env:PASSWORD"},
    "sources": {
        # An argument that looks like a reference is none.
        "dump": {"kind": "command", "argv": ["env:NOT-A-SECRET"], "lives_on": "here"},
        "vectors": {
            "kind": "qdrant",
            "url": "http://127.0.0.1:6333",
            "lives_on": "here",
            "restore_to": {"url": "http://127.0.0.1:6334", "api_key": "env:QDRANT"},
        },
    },
    "sites": {"here": {}},
}


def test_every_reference_is_found_with_its_path_and_in_order() -> None:
    assert references(Config.model_validate(DEPLOYMENT)) == [
        ("stores.two.access_key_id", ("env:ID",)),
        ("stores.two.secret_access_key", ("env:SECRET", "file:/secret")),
        ("repository.password", ("env:PASSWORD",)),
        ("sources.vectors.restore_to.api_key", ("env:QDRANT",)),
    ]


def test_only_the_parts_that_are_needed_are_listed() -> None:
    config = Config.model_validate(DEPLOYMENT)
    found = references(config, only=["stores.two", "repository", "store"])
    assert [path for path, _ in found] == [
        "stores.two.access_key_id",
        "stores.two.secret_access_key",
        "repository.password",
    ]


def test_all_that_is_missing_is_named_at_once_and_what_is_there_is_not() -> None:
    found = references(Config.model_validate(DEPLOYMENT))
    with pytest.raises(MissingCredential) as caught:
        check_references(found, MemorySecrets({"file:/secret": "x"}).missing)
    message = caught.value.message
    assert "3 credentials are missing" in message
    assert "stores.two.access_key_id: env:ID is not set" in message
    assert "repository.password" in message
    assert "restore_to.api_key" in message
    assert "secret_access_key" not in message
    assert "--sandbox" in caught.value.hint


def test_nothing_is_said_when_nothing_is_missing() -> None:
    check_references(
        references(Config.model_validate(DEPLOYMENT), only=["repository"]),
        MemorySecrets({"env:PASSWORD": "x"}).missing,
    )


@pytest.mark.parametrize(
    ("reference", "form"),
    [
        ("env:NOT A NAME", "env:NAME"),
        ("vault:secret/drkit", "vault:MOUNT/PATH#KEY"),
        ("vault:drkit#key", "vault:MOUNT/PATH#KEY"),
        ("gcp-sm:drkit", "gcp-sm:projects/PROJECT/secrets/NAME"),
        ("cmd:  ", "cmd:PROGRAM"),
        ("cmd:pass 'unended", "cmd:PROGRAM"),
        ("aws-sm:a b", "aws-sm:NAME"),
        ("planted-password", "written as a reference, never as its value"),
    ],
)
def test_a_reference_of_another_form_names_its_field_and_the_right_form(
    reference: str, form: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        RepositoryConfig.model_validate({"password": ["env:FINE", reference]})
    (error,) = caught.value.errors()
    assert error["loc"] == ("password",)
    assert form in error["msg"]
    assert "planted" not in error["msg"]


@pytest.mark.parametrize(
    "reference",
    [
        "vault:kv/a/b#key",
        "aws-sm:arn:aws:secretsmanager:eu-west-1:123456789012:secret:drkit/x-AbCdEf#key",
        "gcp-sm:projects/p/secrets/s/versions/3#key",
        "cmd:pass show 'drkit repository'",
        "file:~/a key",
    ],
)
def test_a_reference_of_the_right_form_is_taken(reference: str) -> None:
    assert RepositoryConfig.model_validate({"password": reference}).password == (reference,)
