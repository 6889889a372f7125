"""The tensors of a model directory, mapped and never copied, after the checks a loader makes.

The format: a little-endian u64, that many bytes of JSON, then the data; the tensors cover the data
without holes or overlap (safetensors' README, "Format").
"""

from __future__ import annotations

import hashlib
import json
import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

ITEM_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1}
ITEM_BYTES |= {"U64": 8, "U32": 4, "U16": 2, "U8": 1, "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1}
LONGEST_HEADER = 100_000_000
NUMPY_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}


class DamagedModel(Exception):
    """The directory is no whole model; the message names the file."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor: `data` is a view of the mapped file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    data: memoryview

    def columns(self, start: int, count: int) -> np.ndarray[Any, Any]:
        """`count` columns of a matrix from `start`, as float64 of shape (rows, count)."""
        import numpy as np

        values = np.frombuffer(self.data, NUMPY_TYPES[self.dtype]).reshape(self.shape)
        taken = values[:, start : start + count]
        if self.dtype == "BF16":
            taken = (taken.astype("<u4") << np.uint32(16)).view("<f4")
        return np.nan_to_num(taken.astype(np.float64), posinf=0.0, neginf=0.0)


def load_tensors(folder: Path) -> dict[str, Tensor]:
    """All tensors by name. Raises `DamagedModel` for what vLLM's loader would refuse, or worse."""
    index = folder / "model.safetensors.index.json"
    if index.exists():
        weight_map: dict[str, str] = json.loads(index.read_text())["weight_map"]
        files = [_beside(index, name) for name in sorted(set(weight_map.values()))]
    else:
        weight_map = {}
        files = [folder / "model.safetensors"]
    tensors: dict[str, Tensor] = {}
    for path in files:
        if not path.is_file():
            raise DamagedModel(f"{path.name} is missing")
        for tensor in _tensors_of(path):
            if weight_map.get(tensor.name, path.name) == path.name:
                tensors[tensor.name] = tensor
    if lacking := sorted(set(weight_map) - set(tensors)):
        raise DamagedModel(f"{weight_map[lacking[0]]}: tensor {lacking[0]} is missing")
    return tensors


def digest(tensors: dict[str, Tensor]) -> bytes:
    """SHA-256 over every tensor's name, type, shape and bytes, in the order of their names."""
    whole = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        whole.update(f"{name}\0{tensor.dtype}\0{tensor.shape}\0".encode())
        whole.update(tensor.data)
    return whole.digest()


def _beside(index: Path, name: str) -> Path:
    if Path(name).name != name:
        raise DamagedModel(f"{index.name} leads out of its folder: {name!r}")
    return index.parent / name


def _tensors_of(path: Path) -> Iterator[Tensor]:
    with path.open("rb") as file:
        try:
            mapped = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        except ValueError as error:
            raise DamagedModel(f"{path.name} is empty") from error
    length = int.from_bytes(mapped[:8], "little")
    if len(mapped) < 8 or length > min(LONGEST_HEADER, len(mapped) - 8):
        raise DamagedModel(f"{path.name}: the header is longer than the file")
    try:
        header = json.loads(bytes(mapped[8 : 8 + length]))
    except ValueError as error:
        raise DamagedModel(f"{path.name}: the header is no JSON") from error
    data = mapped[8 + length :]
    header.pop("__metadata__", None)
    entries = sorted(header.items(), key=lambda item: item[1]["data_offsets"])
    covered = 0
    for name, entry in entries:
        begin, end = entry["data_offsets"]
        shape = tuple(entry["shape"])
        size = prod(shape) * ITEM_BYTES.get(entry["dtype"], -1)
        if begin != covered or end - begin != size or end > len(data):
            raise DamagedModel(f"{path.name}: incomplete metadata, file not fully covered ({name})")
        covered = end
        yield Tensor(name, entry["dtype"], shape, data[begin:end])
    if covered != len(data):
        raise DamagedModel(f"{path.name}: incomplete metadata, file not fully covered")
