"""A service account of the Cloud Storage stand-in: its key, the tokens it gets, what it signs."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, parse_qsl, quote

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

Json = dict[str, Any]
EMAIL = "drkit@example.org"


@dataclass
class Refusal(Exception):
    status: int
    reason: str
    said: str


class Account:
    """One key, and the tokens that were given for it."""

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._tokens: set[str] = set()

    def key_file(self, token_uri: str) -> str:
        pem = self._key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return json.dumps(
            {
                "type": "service_account",
                "project_id": "p",
                "private_key_id": "1",
                "private_key": pem.decode(),
                "client_email": EMAIL,
                "token_uri": token_uri,
            }
        )

    def token(self, body: bytes) -> Json:
        """A token for a signed assertion."""
        assertion = parse_qs(body.decode())["assertion"][0]
        signed, _, signature = assertion.rpartition(".")
        try:
            self._verify(_unpadded(signature), signed.encode())
        except InvalidSignature:
            raise Refusal(400, "invalid_grant", "Invalid JWT Signature.") from None
        token = f"token-{len(self._tokens)}-{time.monotonic_ns()}"
        self._tokens.add(token)
        return {"access_token": token, "expires_in": 3600, "token_type": "Bearer"}

    def knows(self, authorization: str) -> bool:
        return authorization.removeprefix("Bearer ") in self._tokens

    def check_token(self, authorization: str) -> None:
        if not self.knows(authorization):
            raise Refusal(401, "authError", "Invalid Credentials")

    def check_signature(
        self, method: str, path: str, query: str, host: str, clock_ahead_s: float
    ) -> None:
        """V4: the canonical request is signed with the account's key, for a while."""
        pairs = parse_qsl(query, keep_blank_values=True)
        values = dict(pairs)
        began = datetime.strptime(values["X-Goog-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        age_s = (datetime.now(UTC) - began).total_seconds() + clock_ahead_s
        if age_s > float(values["X-Goog-Expires"]):
            raise Refusal(400, "expired", "ExpiredToken")
        rest = sorted((quote(k, safe="-_.~"), quote(v, safe="-_.~")) for k, v in pairs)
        canonical = "\n".join(
            (
                method,
                path,
                "&".join(f"{k}={v}" for k, v in rest if k != "X-Goog-Signature"),
                f"host:{host}\n",
                "host",
                "UNSIGNED-PAYLOAD",
            )
        )
        scope = values["X-Goog-Credential"].partition("/")[2]
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        text = f"GOOG4-RSA-SHA256\n{values['X-Goog-Date']}\n{scope}\n{digest}"
        try:
            self._verify(bytes.fromhex(values["X-Goog-Signature"]), text.encode())
        except (InvalidSignature, ValueError):
            raise Refusal(403, "signature", "SignatureDoesNotMatch") from None

    def _verify(self, signature: bytes, signed: bytes) -> None:
        self._key.public_key().verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())


def _unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
