"""restic's sealing: AES-256-CTR, authenticated by Poly1305-AES over the ciphertext.

Sealed bytes are IV (16) || ciphertext || tag (16). The tag is checked before anything is decrypted.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes
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

    def seal_into(self, plaintext: bytes | memoryview, into: memoryview) -> int:
        """Writes the sealed form of `plaintext` to the front of `into`; its length in bytes.

        Nothing is allocated or copied: the ciphers of each thread are kept, each time with a fresh
        random IV. `into` must have `OVERHEAD_BYTES` more than the plaintext.
        """
        ciphers = _ciphers_of(self)
        iv = os.urandom(16)
        end = 16 + len(plaintext)
        ciphers.stream.reset_nonce(iv)
        into[:16] = iv
        ciphers.stream.update_into(plaintext, into[16 : end + 16])
        tag = Poly1305(self.mac_r + ciphers.block.update(iv))
        tag.update(into[16:end])
        into[end : end + 16] = tag.finalize()
        return end + 16

    def open(self, sealed: bytes | memoryview) -> bytes:
        """The plaintext of `sealed`. Raises `DamagedData` when it was not sealed by this key."""
        view = memoryview(sealed)
        return self._stream_for(view).update(view[16:-16])

    def open_into(self, sealed: bytes | memoryview, into: bytearray) -> memoryview:
        """The plaintext of `sealed`, at the front of `into`, which must be as long as `sealed`.

        Nothing is allocated: fresh memory costs as much as decrypting does.
        """
        view, plain = memoryview(sealed), memoryview(into)
        self._stream_for(view).update_into(view[16:-16], plain)
        return plain[: len(view) - OVERHEAD_BYTES]

    def _stream_for(self, sealed: memoryview) -> CipherContext:
        """What decrypts `sealed`, whose tag was found right."""
        if len(sealed) < OVERHEAD_BYTES:
            raise _unauthentic()
        ciphers = _ciphers_of(self)
        iv = bytes(sealed[:16])
        try:
            one_time = self.mac_r + ciphers.block.update(iv)
            Poly1305.verify_tag(one_time, sealed[16:-16], bytes(sealed[-16:]))
        except InvalidSignature:
            raise _unauthentic() from None
        ciphers.stream.reset_nonce(iv)
        return ciphers.stream

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


class _Ciphers(threading.local):
    """The contexts of one thread: to make them costs more than to seal a small blob."""

    key: MasterKey | None = None
    stream: CipherContext
    block: CipherContext


_ciphers = _Ciphers()


def _ciphers_of(key: MasterKey) -> _Ciphers:
    if _ciphers.key is not key:
        _ciphers.key = key
        _ciphers.stream = Cipher(algorithms.AES(key.encrypt), modes.CTR(bytes(16))).encryptor()
        # one block at a time, no mode: see `_one_time`
        _ciphers.block = Cipher(algorithms.AES(key.mac_k), modes.ECB()).encryptor()  # noqa: S305
    return _ciphers


def _unauthentic() -> DamagedData:
    return DamagedData(
        "the bytes are not what this key sealed",
        hint="the object is damaged or belongs to another repository: drkit check --read-data",
    )
