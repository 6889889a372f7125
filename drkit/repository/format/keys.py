"""Key files: the master key, sealed by a password through scrypt, as restic writes them."""

from __future__ import annotations

import base64
import getpass
import hashlib
import os
from dataclasses import dataclass
from typing import Any

import orjson

from drkit.clock import Clock
from drkit.errors import DamagedData, WrongKey
from drkit.repository.format.sealing import MasterKey


@dataclass(frozen=True, slots=True)
class ScryptCost:
    """scrypt's parameters. Readers take any; tests use low ones."""

    n: int = 32768
    r: int = 8
    p: int = 1


def calibrated_cost(clock: Clock) -> ScryptCost:
    """What restic chooses for a new key: about half a second and 32 MiB on this machine."""
    started_s = clock.elapsed_s()
    _password_key("calibration", bytes(64), ScryptCost())
    spent_s = clock.elapsed_s() - started_s
    return ScryptCost(p=max(1, min(16, int(0.5 / spent_s) if spent_s > 0 else 1)))


def make_key_file(
    key: MasterKey, password: str, *, cost: ScryptCost, clock: Clock, hostname: str
) -> bytes:
    """The bytes of a key file that `password` opens; its name is their SHA-256."""
    salt = os.urandom(64)
    inner = {
        "mac": {"k": _text(key.mac_k), "r": _text(key.mac_r)},
        "encrypt": _text(key.encrypt),
    }
    sealed = _password_key(password, salt, cost).seal(orjson.dumps(inner))
    return orjson.dumps(
        {
            "created": clock.now().isoformat(),
            "username": user_name(),
            "hostname": hostname,
            "kdf": "scrypt",
            "N": cost.n,
            "r": cost.r,
            "p": cost.p,
            "salt": _text(salt),
            "data": _text(sealed),
        }
    )


def open_key_file(content: bytes, password: str) -> MasterKey:
    """The master key. Raises `WrongKey` when `password` does not open this file."""
    try:
        outer: dict[str, Any] = orjson.loads(content)
        cost = ScryptCost(int(outer["N"]), int(outer["r"]), int(outer["p"]))
        if outer["kdf"] != "scrypt" or cost.n * cost.r * 128 > 1 << 30:
            raise ValueError("unknown or outsized key derivation")
        password_key = _password_key(password, base64.b64decode(outer["salt"]), cost)
        inner = orjson.loads(password_key.open(base64.b64decode(outer["data"])))
        return MasterKey(
            base64.b64decode(inner["encrypt"]),
            base64.b64decode(inner["mac"]["k"]),
            base64.b64decode(inner["mac"]["r"]),
        )
    except (ValueError, KeyError, TypeError, DamagedData):
        raise WrongKey(
            "the password does not open the repository",
            hint="check repository.password in schedules.yaml; any restic key's password will do",
        ) from None


def user_name() -> str:
    """Who runs this; empty where the machine has no name for the user."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""


def _password_key(password: str, salt: bytes, cost: ScryptCost) -> MasterKey:
    derived = hashlib.scrypt(
        password.encode(), salt=salt, n=cost.n, r=cost.r, p=cost.p, maxmem=(1 << 31) - 2, dklen=64
    )
    return MasterKey(derived[:32], derived[32:48], derived[48:])


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
