"""Secrets are found in order, as text, and never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from drkit.errors import MissingCredential, NotInThisVersion
from drkit.secrets.catalog import open_secrets
from drkit.secrets.memory import MemorySecrets
from drkit.secrets.resolvers import MOST_BYTES


def test_the_first_reference_that_resolves_wins(tmp_path: Path) -> None:
    (tmp_path / "b").write_text("from-file\n")
    secrets = open_secrets(tmp_path, environ={"C": "from-env"})
    assert secrets.resolve(("env:A", "file:b", "env:C")).reveal() == "from-file"
    assert secrets.resolve(("env:C", "file:b")).reveal() == "from-env"


def test_a_missing_secret_names_every_place_that_was_looked_at(tmp_path: Path) -> None:
    secrets = open_secrets(tmp_path, environ={"EMPTY": ""})
    with pytest.raises(MissingCredential) as caught:
        secrets.resolve(("env:A", "env:EMPTY", "file:/nowhere/key", "vault:x#y"))
    for place in ("$A is not set", "$EMPTY is empty", "/nowhere/key does not exist", "vault:"):
        assert place in caught.value.message
    assert "--sandbox" in caught.value.hint
    assert secrets.missing(("env:A",)) == "$A is not set"


def test_a_scheme_without_a_resolver_is_not_in_this_version(tmp_path: Path) -> None:
    with pytest.raises(NotInThisVersion, match="keyring"):
        open_secrets(tmp_path, environ={}).resolve(("keyring:name", "keyring:x"))


def test_a_scheme_without_a_resolver_does_not_stop_the_next_reference(tmp_path: Path) -> None:
    secrets = open_secrets(tmp_path, environ={"A": "x"})
    assert secrets.resolve(("vault:x", "env:A")).reveal() == "x"
    assert secrets.missing(("vault:x", "env:A")) is None


@pytest.mark.parametrize("written", ["s3cret\n", "s3cret\r\n", "s3cret\n\n", "s3cret"])
def test_trailing_newlines_are_no_part_of_a_secret(tmp_path: Path, written: str) -> None:
    (tmp_path / "key").write_bytes(written.encode())
    secrets = open_secrets(tmp_path, environ={"A": written})
    assert secrets.resolve(("file:key",)).reveal() == "s3cret"
    assert secrets.resolve(("env:A",)).reveal() == "s3cret"


def test_digits_stay_text_and_inner_whitespace_stays(tmp_path: Path) -> None:
    secrets = open_secrets(tmp_path, environ={"A": "0123", "B": " a b\nc "})
    assert secrets.resolve(("env:A",)).reveal() == "0123"
    assert secrets.resolve(("env:B",)).reveal() == " a b\nc "


@pytest.mark.parametrize(
    ("data", "what"),
    [(b"\xff\xfe", "not text"), (b"\n", "empty"), (b"x" * (MOST_BYTES + 1), "larger")],
)
def test_a_file_that_cannot_be_a_secret_is_not_one(tmp_path: Path, data: bytes, what: str) -> None:
    (tmp_path / "key").write_bytes(data)
    assert what in str(open_secrets(tmp_path, environ={}).missing(("file:key",)))


def test_a_secret_shows_itself_nowhere(tmp_path: Path) -> None:
    secrets = open_secrets(tmp_path, environ={"A": "planted", "B": ""})
    secret = secrets.resolve(("env:A",))
    assert "planted" not in f"{secret} {secret!r} {[secret]}"
    with pytest.raises(MissingCredential) as caught:
        secrets.resolve(("env:B",))
    assert "planted" not in str(caught.value)


def test_memory_answers_as_the_real_one_does() -> None:
    secrets = MemorySecrets({"env:A": "x\n"})
    assert secrets.resolve(("env:Z", "env:A")).reveal() == "x"
    assert secrets.missing(("env:Z",)) == "env:Z is not set"
    with pytest.raises(MissingCredential):
        secrets.resolve(("env:Z",))
