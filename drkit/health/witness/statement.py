"""What a witness says about one service, signed, for the one who asked and for nobody else.

On the wire: `{"statement": "<JSON text>", "signature": "<base64>"}`. The signature is over the
text's very bytes, behind a line that no other kind of signed text begins with; the caller's nonce
is in the text, so that an old answer is good for nothing.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from drkit.health.witness.signing import SigningKey, is_signed_by

NONCE = re.compile(r"[0-9a-f]{32}")
MOST_ROUNDS = 10
_DOMAIN = b"drkit witness 1\n"
_MOST_BYTES = 16 * 1024


class Word(Enum):
    """NOT_KNOWN: blind, suspecting, or never seen it healthy."""

    WELL = "well"
    DOWN = "down"
    NOT_KNOWN = "not known"


@dataclass(frozen=True, slots=True)
class Round:
    """One of its rounds: how long ago when it was told, and what it showed, in words."""

    age_s: float
    saw: str


@dataclass(frozen=True, slots=True)
class Statement:
    """`site` is what is watched, at `endpoint` as the witness reaches it. `rounds`: newest first.

    Ages are by the witness's own clock, since no two machines' clocks are compared (T1); `at` is
    for people.
    """

    service: str
    site: str
    endpoint: str
    word: Word
    state: str
    rounds: tuple[Round, ...]
    at: datetime
    nonce: str

    @property
    def age_s(self) -> float | None:
        """Seconds since the newest round, when it was told; None before the first one."""
        return self.rounds[0].age_s if self.rounds else None


class Untrustworthy(Exception):
    """What came is no statement of the witness that was asked; the text says why."""


def signed(statement: Statement, key: SigningKey) -> bytes:
    """The answer of a witness, as JSON."""
    text = json.dumps(
        {
            "service": statement.service,
            "site": statement.site,
            "endpoint": statement.endpoint,
            "word": statement.word.value,
            "state": statement.state,
            "rounds": [{"age_s": each.age_s, "saw": each.saw} for each in statement.rounds],
            "at": statement.at.isoformat(),
            "nonce": statement.nonce,
        }
    )
    signature = base64.b64encode(key.sign(_DOMAIN + text.encode())).decode()
    return json.dumps({"statement": text, "signature": signature}).encode()


def opened(answer: bytes, verifying: str, nonce: str) -> Statement:
    """The statement in `answer`. Raises `Untrustworthy` unless it was signed by the key whose
    verifying half this is, and for this `nonce`.
    """
    if len(answer) > _MOST_BYTES:
        raise Untrustworthy(f"it sent over {_MOST_BYTES} bytes")
    try:
        envelope = json.loads(answer)
        text = str(envelope["statement"])
        signature = base64.b64decode(envelope["signature"], validate=True)
    except (ValueError, TypeError, KeyError, binascii.Error):
        raise Untrustworthy("it sent no signed statement") from None
    if not is_signed_by(verifying, signature, _DOMAIN + text.encode(errors="replace")):
        raise Untrustworthy("the signature is not by the configured verifying_key")
    try:
        statement = _statement(json.loads(text))
    except (ValueError, TypeError, KeyError):
        raise Untrustworthy("it signed something that is no statement") from None
    if statement.nonce != nonce:
        raise Untrustworthy("it is an answer to another question, told again")
    return statement


def _statement(values: Any) -> Statement:
    rounds = tuple(Round(float(each["age_s"]), str(each["saw"])) for each in values["rounds"])
    if len(rounds) > MOST_ROUNDS or any(not each.age_s >= 0 for each in rounds):
        raise ValueError("rounds")
    return Statement(
        service=str(values["service"]),
        site=str(values["site"]),
        endpoint=str(values["endpoint"]),
        word=Word(values["word"]),
        state=str(values["state"]),
        rounds=rounds,
        at=datetime.fromisoformat(values["at"]),
        nonce=str(values["nonce"]),
    )
