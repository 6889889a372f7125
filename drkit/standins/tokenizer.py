"""Text to token ids and back, from a model's tokenizer.json: byte-level BPE, as most models have.

Words are split as GPT-2 does it, near enough: what counts here is that the same text always gives
the same ids, that they are those of the vocabulary, and that every text comes back whole.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

WORDS = re.compile(r"'(?:[sdmt]|ll|ve|re)| ?[^\W\d_]+| ?\d+| ?[^\s\w]+|_+|\s+(?!\S)|\s+")
ROLE = "<|im_start|>{role}\n{content}<|im_end|>\n"


def _byte_characters() -> list[str]:
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(others)) for byte in range(256)]


CHARACTERS = _byte_characters()
BYTES = {character: byte for byte, character in enumerate(CHARACTERS)}


class Tokenizer:
    """Made from tokenizer.json. An id that it does not know decodes to nothing."""

    def __init__(self, path: Path) -> None:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        model = content["model"]
        vocabulary: dict[str, int] = model["vocab"]
        if isinstance(model["vocab"], list):  # unigram models list pairs of piece and score
            vocabulary = {entry[0]: number for number, entry in enumerate(model["vocab"])}
        self._ids: dict[str, int] = vocabulary
        self._ranks = {tuple(_pair(m)): rank for rank, m in enumerate(model.get("merges") or [])}
        self._special: dict[str, int] = {
            token["content"]: token["id"] for token in content["added_tokens"]
        }
        self._texts = {number: text for text, number in self._ids.items()}
        self._specials_of = {number: text for text, number in self._special.items()}
        longest_first = sorted(self._special, key=len, reverse=True)
        self._split = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
        self._word_ids = lru_cache(16384)(self._bpe)

    def encode(self, text: str) -> list[int]:
        ids: list[int] = []
        at = 0
        for found in self._split.finditer(text):
            ids += self._plain(text[at : found.start()])
            ids.append(self._special[found.group()])
            at = found.end()
        return ids + self._plain(text[at:])

    def decode(self, ids: Sequence[int]) -> str:
        """Special tokens are left out, as a server's answer does."""
        return b"".join(self.token_bytes(token) for token in ids).decode("utf-8", "replace")

    def token_bytes(self, token: int) -> bytes:
        if token in self._specials_of:
            return b""
        text = self._texts.get(token, "")
        if all(character in BYTES for character in text):
            return bytes(BYTES[character] for character in text)
        return text.replace("\u2581", " ").encode()

    def token_text(self, token: int) -> str:
        """How one token is shown in logprobs."""
        if token in self._specials_of:
            return self._specials_of[token]
        return self.token_bytes(token).decode("utf-8", "replace")

    def chat(self, messages: Sequence[tuple[str, str]]) -> list[int]:
        """ChatML with the prompt for the assistant's answer."""
        said = "".join(ROLE.format(role=role, content=content) for role, content in messages)
        return self.encode(said + "<|im_start|>assistant\n")

    def _plain(self, text: str) -> list[int]:
        return [token for word in WORDS.findall(text) for token in self._word_ids(word)]

    def _bpe(self, word: str) -> tuple[int, ...]:
        pieces = [CHARACTERS[byte] for byte in word.encode()]
        while len(pieces) > 1:
            ranked = ((self._ranks.get(pair), at) for at, pair in enumerate(_pairs(pieces)))
            best = min(((rank, at) for rank, at in ranked if rank is not None), default=None)
            if best is None:
                break
            pieces[best[1] : best[1] + 2] = ["".join(pieces[best[1] : best[1] + 2])]
        return tuple(self._ids[piece] for piece in pieces if piece in self._ids)


def _pairs(pieces: list[str]) -> Iterator[tuple[str, str]]:
    return pairwise(pieces)


def _pair(merge: str | list[str]) -> list[str]:
    return merge.split(" ") if isinstance(merge, str) else merge
