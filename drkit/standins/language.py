"""Next-token probabilities that depend on every bit of the weights, the same on every machine.

Not the model's own mathematics: that would need its GPU. The context's embedding rows are folded
into one vector, which is multiplied with the output rows; a bias drawn from the digest of all
tensors is added. Sums are taken element by element in a fixed order in float64, never by BLAS,
whose order differs between machines.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from drkit.standins.safetensors import NUMPY_TYPES, DamagedModel, Tensor, digest

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

WIDTH = 32
CONTEXT = 12
DECAY = 0.75
SHARPNESS = 5.0
BIAS = 2.0
DECIMALS = 6
EMBEDDINGS = ("embed_tokens.weight", "wte.weight", "word_embeddings.weight")


@dataclass(frozen=True, slots=True)
class Logprob:
    """A token's log-probability and its rank, 1 being the likeliest."""

    token: int
    logprob: float
    rank: int


class Language:
    """Made of tensors. `vocabulary` tokens, `fingerprint` of all weights."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        import numpy as np

        embedding = _embedding(tensors)
        head = tensors.get("lm_head.weight", embedding)
        self.vocabulary = min(embedding.shape[0], head.shape[0])
        whole = digest(tensors)
        self.fingerprint = whole.hex()
        width = min(WIDTH, embedding.shape[1], head.shape[1])
        start = whole[0] % (min(embedding.shape[1], head.shape[1]) - width + 1)
        self._rows = _scaled(embedding.columns(start, width)[: self.vocabulary])
        output = _scaled(head.columns(start, width)[: self.vocabulary])
        self._output = np.ascontiguousarray(output.T) * (SHARPNESS / width**0.5)
        drawn = hashlib.shake_256(whole).digest(4 * self.vocabulary)
        self._bias = (np.frombuffer(drawn, "<u4").astype(np.float64) / 2**32 - 0.5) * BIAS

    def logprobs(self, tokens: Sequence[int], positions: Sequence[int]) -> Array:
        """Log-probabilities of what follows `tokens[:p]`, one row for each position p."""
        import numpy as np

        folded = np.zeros((len(positions), self._rows.shape[1]))
        for place, position in enumerate(positions):
            weight = 1.0
            for back, token in enumerate(reversed(tokens[max(0, position - CONTEXT) : position])):
                folded[place] += weight * (1.0 + 0.125 * back) * self._rows[token]
                weight *= DECAY
        logits = np.tile(self._bias, (len(positions), 1))
        for column in range(folded.shape[1]):
            logits += folded[:, column : column + 1] * self._output[column]
        top = logits.max(axis=1, keepdims=True)
        sums = np.cumsum(np.exp(logits - top), axis=1)[:, -1:]
        rounded: Array = np.round(logits - top - np.log(sums), DECIMALS)
        return rounded

    def best(self, row: Array, count: int) -> list[Logprob]:
        """The `count` likeliest tokens; equal ones in the order of their ids."""
        import numpy as np

        count = min(count, len(row))
        if count <= 0:
            return []
        threshold = np.partition(row, len(row) - count)[len(row) - count]
        near = np.flatnonzero(row >= threshold)
        order = near[np.lexsort((near, -row[near]))][:count]
        return [Logprob(int(token), float(row[token]), n) for n, token in enumerate(order, 1)]

    def one(self, row: Array, token: int) -> Logprob:
        import numpy as np

        return Logprob(token, float(row[token]), int(np.count_nonzero(row > row[token])) + 1)

    def draw(self, row: Array, temperature: float, chance: random.Random) -> int:
        """The likeliest token at temperature 0, else one drawn by its probability."""
        import numpy as np

        if temperature <= 0:
            return int(np.argmax(row))
        weights = np.cumsum(np.exp((row - row.max()) / temperature))
        return int(np.searchsorted(weights, chance.random() * weights[-1], side="right"))


def _embedding(tensors: dict[str, Tensor]) -> Tensor:
    matrices = [t for t in tensors.values() if len(t.shape) == 2 and t.dtype in NUMPY_TYPES]
    named = [t for t in matrices if t.name.endswith(EMBEDDINGS)]
    if not named and not matrices:
        raise DamagedModel("no matrix of floating-point numbers is in it")
    return named[0] if named else max(matrices, key=lambda t: (t.shape[0], t.name))


def _scaled(values: Array) -> Array:
    """The same, its largest magnitude made 2. The maximum does not depend on any order."""
    largest = float(abs(values).max()) if values.size else 0.0
    return values * (2.0 / largest) if largest else values
