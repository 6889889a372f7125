"""A small model of two shards, made by hand and not by the code under test."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Mapping
from pathlib import Path

import pytest


def safetensors(tensors: Mapping[str, bytes], *, pad: int = 0) -> bytes:
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, data in tensors.items():
        header[name] = {"dtype": "U8", "shape": [len(data)], "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode() + b" " * pad
    return struct.pack("<Q", len(text)) + text + b"".join(tensors.values())


@pytest.fixture
def tensors() -> dict[str, bytes]:
    rng = random.Random(7)
    return {f"layer.{number}": rng.randbytes(3000 + 17 * number) for number in range(4)}


@pytest.fixture
def model(tmp_path: Path, tensors: dict[str, bytes]) -> Path:
    root = tmp_path / "model"
    (root / "extra").mkdir(parents=True)
    names = list(tensors)
    for number, part in enumerate((names[:2], names[2:]), start=1):
        data = safetensors({name: tensors[name] for name in part}, pad=number)
        (root / f"model-{number:05}-of-00002.safetensors").write_bytes(data)
    (root / "config.json").write_text('{"hidden_size": 8}')
    (root / "extra" / "notes.txt").write_text("about")
    (root / "empty.txt").touch()
    return root
