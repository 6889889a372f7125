"""A ticket lets one machine fetch one model for a while, and nothing else (K4).

It holds the manifest and one presigned URL per file. Sealed, it is a header, a nonce and
AES-256-GCM over canonical JSON; the header is authenticated too.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson

from drkit.clock import Clock
from drkit.errors import DamagedData, WrongKey
from drkit.mirror.manifest import MOST_MANIFEST_BYTES, Manifest
from drkit.stores.interface import Presigner

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

HEADER = b"drkit ticket 1\n"
NONCE_BYTES = 12
KEY_BYTES = 32
MOST_TICKET_BYTES = 2 * MOST_MANIFEST_BYTES


@dataclass(frozen=True, slots=True)
class Ticket:
    """`urls` by the manifest's paths. Their text is a secret until `expires_at`."""

    manifest: Manifest
    urls: Mapping[str, str]
    expires_at: datetime

    def __repr__(self) -> str:
        what = f"{self.manifest.model} at {self.manifest.revision}"
        return f"Ticket({what}, {len(self.urls)} files, until {self.expires_at.isoformat()})"


def mint_ticket(store: Presigner, manifest: Manifest, *, expires_s: float, clock: Clock) -> Ticket:
    """A ticket for every file of `manifest`, from `store`."""
    expires_at = clock.now() + timedelta(seconds=expires_s)
    urls = {
        file.path: store.presign(manifest.folder + file.path, expires_s) for file in manifest.files
    }
    return Ticket(manifest, {path: str(url) for path, url in urls.items()}, expires_at)


def seal_ticket(ticket: Ticket, key: bytes) -> bytes:
    """The ticket, readable only with `key` (32 bytes, used for this ticket alone)."""
    content = orjson.dumps(
        {
            "manifest": ticket.manifest.to_bytes().decode(),
            "urls": dict(ticket.urls),
            "expires_at": ticket.expires_at.isoformat(),
        },
        option=orjson.OPT_SORT_KEYS,
    )
    nonce = os.urandom(NONCE_BYTES)
    return HEADER + nonce + _cipher(key).encrypt(nonce, content, HEADER)


def open_ticket(sealed: bytes, key: bytes) -> Ticket:
    """The ticket in `sealed`. Raises `WrongKey`, and `DamagedData` for what is no ticket."""
    from cryptography.exceptions import InvalidTag

    if not sealed.startswith(HEADER) or len(sealed) > MOST_TICKET_BYTES:
        raise DamagedData("this is no ticket of this version", hint=_REMINT)
    start = len(HEADER) + NONCE_BYTES
    try:
        content = _cipher(key).decrypt(sealed[len(HEADER) : start], sealed[start:], HEADER)
    except (InvalidTag, ValueError) as error:
        raise WrongKey(
            "the ticket does not open: it was sealed with another key, or is damaged",
            hint=_REMINT,
        ) from error
    try:
        return _parse(orjson.loads(content))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DamagedData(f"the ticket cannot be read: {error}", hint=_REMINT) from error


_REMINT = "drkit runs resume mints a new ticket"


def _parse(value: dict[str, Any]) -> Ticket:
    manifest = Manifest.from_bytes(value["manifest"].encode(), found_in="ticket")
    urls = value["urls"]
    if not isinstance(urls, dict) or set(urls) != {file.path for file in manifest.files}:
        raise ValueError("it has not one URL for each file")
    expires_at = datetime.fromisoformat(value["expires_at"])
    if expires_at.tzinfo is None:
        raise ValueError("its end has no time zone")
    return Ticket(manifest, urls, expires_at)


def _cipher(key: bytes) -> AESGCM:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    if len(key) != KEY_BYTES:
        raise ValueError(f"a ticket's key has {KEY_BYTES} bytes")
    return AESGCM(key)
