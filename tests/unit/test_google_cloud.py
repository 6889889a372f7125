"""Credentials of Google: as a file, as text, of this machine; errors name the field and no key."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from drkit.errors import ConfigError, MissingCredential
from drkit.google_cloud import crc32c, load_credentials

FIELD = "stores.gcs.credentials"
USER = {
    "type": "authorized_user",
    "client_id": "id",
    "client_secret": "planted-secret",
    "refresh_token": "planted-token",
}


def test_the_text_of_a_key_and_the_path_of_its_file_are_the_same(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    path.write_text(json.dumps(USER))
    for written in (json.dumps(USER), f"\n {json.dumps(USER)}", str(path)):
        found = load_credentials(written, anonymous=False, field=FIELD)
        assert found.refresh_token == "planted-token"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("written", "kind", "what"),
    [
        ("/nowhere/key.json", MissingCredential, "does not exist"),
        ("/", ConfigError, "cannot be read"),
        ("{planted", ConfigError, "neither the path"),
        ('{"type": "service_account", "private_key": "planted"}', ConfigError, "not what Google"),
        ('{"type": "planted"}', ConfigError, "not what Google"),
        (
            '{"type": "external_account", "credential_source": {"executable": {"command": "x"}}}',
            ConfigError,
            "not what Google",
        ),
        ('{"planted": 1}', ConfigError, "not what Google"),
    ],
)
def test_what_is_no_key_is_an_error_that_names_the_field(
    written: str, kind: type[Exception], what: str
) -> None:
    with pytest.raises(kind, match=what) as caught:
        load_credentials(written, anonymous=False, field=FIELD)
    assert FIELD in str(caught.value)
    assert "planted" not in str(caught.value)


def test_without_a_key_a_loopback_endpoint_is_asked_by_nobody_in_particular() -> None:
    found = load_credentials(None, anonymous=True, field=FIELD)
    assert type(found).__name__ == "AnonymousCredentials"


def test_a_machine_without_credentials_of_its_own_says_where_they_go(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import google.auth
    from google.auth.exceptions import DefaultCredentialsError

    def none(**_unused: object) -> None:
        raise DefaultCredentialsError("none")

    monkeypatch.setattr(google.auth, "default", none)
    with pytest.raises(MissingCredential, match=FIELD):
        load_credentials(None, anonymous=False, field=FIELD)


def test_crc32c_is_that_of_its_standard() -> None:
    assert crc32c(b"123456789") == 0xE3069283  # RFC 3720, appendix B.4 and its reference
    assert crc32c(b"6789", after=crc32c(b"12345")) == 0xE3069283
