"""Ed25519 (RFC 8032): a witness signs what it says, and whoever asked it checks that it did."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from drkit.errors import ConfigError
from drkit.stores.durable import write_file

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_PREFIX = "ed25519:"
_RAW_BYTES = 32


@dataclass(frozen=True, slots=True)
class SigningKey:
    """The secret half. `verifying` is the other half as text, to be configured at who asks."""

    verifying: str
    _private: Ed25519PrivateKey = field(repr=False)

    def sign(self, message: bytes) -> bytes:
        """64 bytes."""
        return self._private.sign(message)


def open_signing_key(path: Path) -> SigningKey:
    """The key in `path`; made, for its owner's eyes only, where there is none.

    Raises `ConfigError` for a file that holds something else.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    if not path.exists():
        made = Ed25519PrivateKey.generate().private_bytes_raw()
        write_file(path, f"{_PREFIX}{base64.b64encode(made).decode()}\n".encode(), mode=0o600)
    seed = _raw(path.read_text(errors="replace").strip())
    if seed is None:
        raise ConfigError(
            f"{path} holds no signing key",
            hint="move it away and start again: a new key is made, whose verifying half must be "
            "configured wherever this witness is asked",
        )
    private = Ed25519PrivateKey.from_private_bytes(seed)
    public = private.public_key().public_bytes_raw()
    return SigningKey(f"{_PREFIX}{base64.b64encode(public).decode()}", private)


def is_signed_by(verifying: str, signature: bytes, message: bytes) -> bool:
    """Whether the secret half of `verifying` signed exactly `message`."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    raw = _raw(verifying)
    if raw is None:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(raw).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _raw(text: str) -> bytes | None:
    """The 32 bytes of "ed25519:BASE64"."""
    if not re.fullmatch(rf"{_PREFIX}[A-Za-z0-9+/]{{43}}=", text):
        return None
    try:
        raw = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        return None
    return raw if len(raw) == _RAW_BYTES else None
