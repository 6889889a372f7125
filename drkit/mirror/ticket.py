"""A ticket lets one machine fetch one model for a while, and nothing else (K4).

It holds the manifest, and for each file a presigned URL of every store that has it. Sealed, it is a
header, a nonce and AES-256-GCM over canonical JSON; the header is authenticated too.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import orjson

from drkit.clock import Clock
from drkit.errors import DamagedData, PlaceError, WrongKey
from drkit.mirror.manifest import MANIFEST, MOST_MANIFEST_BYTES, Manifest
from drkit.stores.interface import Presigner, Store

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

HEADER = b"drkit ticket 1\n"
NONCE_BYTES = 12
KEY_BYTES = 32
MOST_TICKET_BYTES = 2 * MOST_MANIFEST_BYTES
_MOMENT_S = 60.0

Addresses = tuple[tuple[str, str], ...]
"""(store, URL) of one file, in the order in which they are to be tried."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """`urls` by the manifest's paths. Their text is a secret until `expires_at`."""

    manifest: Manifest
    urls: Mapping[str, Addresses]
    expires_at: datetime

    def __repr__(self) -> str:
        what = f"{self.manifest.model} at {self.manifest.revision}"
        return f"Ticket({what}, {len(self.urls)} files, until {self.expires_at.isoformat()})"


def presigners(stores: Sequence[Store], manifest: Manifest) -> dict[str, Presigner]:
    """Those of `stores` that can let a reader in without a credential, by name, in their order.

    Raises `PlaceError`, with each one's reason, when none can.
    """
    able: dict[str, Presigner] = {}
    reasons = []
    for store in stores:
        if not hasattr(store, "presign"):
            reasons.append(f"{store.name} has no expiring links")
            continue
        try:
            store.presign(manifest.folder + MANIFEST, _MOMENT_S)
        except PlaceError as error:
            reasons.append(error.message)
        else:
            able[store.name] = cast(Presigner, store)
    if not able:
        raise PlaceError(
            f"no store gives {manifest.model} to a reader without a credential: "
            f"{'; '.join(reasons)}",
            hint="keep the mirror on a store of kind folder, gcs, s3 or b2, whose key may sign",
        )
    return able


def mint_ticket(
    stores: Sequence[Store], manifest: Manifest, *, expires_s: float, clock: Clock
) -> Ticket:
    """A ticket for every file of `manifest`, from every one of `stores` that can presign."""
    expires_at = clock.now() + timedelta(seconds=expires_s)
    able = presigners(stores, manifest)
    urls = {
        file.path: tuple(
            (name, str(store.presign(manifest.folder + file.path, expires_s)))
            for name, store in able.items()
        )
        for file in manifest.files
    }
    return Ticket(manifest, urls, expires_at)


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
    urls = {path: _addresses(pairs) for path, pairs in value["urls"].items()}
    if set(urls) != {file.path for file in manifest.files}:
        raise ValueError("it has not the URLs of each file")
    expires_at = datetime.fromisoformat(value["expires_at"])
    if expires_at.tzinfo is None:
        raise ValueError("its end has no time zone")
    return Ticket(manifest, urls, expires_at)


def _addresses(pairs: list[list[str]]) -> Addresses:
    addresses = tuple((store, url) for store, url in pairs)
    if not addresses or not all(isinstance(text, str) for pair in addresses for text in pair):
        raise ValueError("a file has no URL")
    return addresses


def _cipher(key: bytes) -> AESGCM:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    if len(key) != KEY_BYTES:
        raise ValueError(f"a ticket's key has {KEY_BYTES} bytes")
    return AESGCM(key)
