"""restic's sealing: AES-256-CTR, authenticated by Poly1305-AES over the ciphertext.

Sealed bytes are IV (16) || ciphertext || tag (16). The tag is checked before anything is decrypted.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.poly1305 import Poly1305

from drkit.errors import DamagedData

OVERHEAD_BYTES = 32


@dataclass(frozen=True, slots=True, repr=False)
class MasterKey:
    """What encrypts the repository. It never leaves machines that the operator owns (K1)."""

    encrypt: bytes
    mac_k: bytes
    mac_r: bytes

    @classmethod
    def generate(cls) -> MasterKey:
        return cls(os.urandom(32), os.urandom(16), os.urandom(16))

    def __repr__(self) -> str:
        return "MasterKey(***)"

    def seal(self, plaintext: bytes | memoryview) -> bytes:
        """The sealed form of `plaintext`, under a fresh random IV."""
        iv = os.urandom(16)
        encryptor = Cipher(algorithms.AES(self.encrypt), modes.CTR(iv)).encryptor()
        ciphertext = encryptor.update(plaintext)
        return b"".join((iv, ciphertext, Poly1305.generate_tag(self._one_time(iv), ciphertext)))

    def open(self, sealed: bytes | memoryview) -> bytes:
        """The plaintext of `sealed`. Raises `DamagedData` when it was not sealed by this key."""
        view = memoryview(sealed)
        if len(view) < OVERHEAD_BYTES:
            raise _unauthentic()
        iv, ciphertext, tag = bytes(view[:16]), view[16:-16], bytes(view[-16:])
        try:
            Poly1305.verify_tag(self._one_time(iv), ciphertext, tag)
        except InvalidSignature:
            raise _unauthentic() from None
        return Cipher(algorithms.AES(self.encrypt), modes.CTR(iv)).decryptor().update(ciphertext)

    def derive(self, purpose: str, length: int = 32) -> bytes:
        """A key for `purpose` (HKDF-SHA256), from which this key cannot be found (K3)."""
        secret = self.encrypt + self.mac_k + self.mac_r
        return HKDF(hashes.SHA256(), length, salt=None, info=f"drkit {purpose}".encode()).derive(
            secret
        )

    def _one_time(self, iv: bytes) -> bytes:
        # Poly1305-AES wants the IV itself encrypted, one block, no mode.
        block = Cipher(algorithms.AES(self.mac_k), modes.ECB()).encryptor()  # noqa: S305
        return self.mac_r + block.update(iv)


def _unauthentic() -> DamagedData:
    return DamagedData(
        "the bytes are not what this key sealed",
        hint="the object is damaged or belongs to another repository: drkit check --read-data",
    )
