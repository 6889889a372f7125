"""A realistic stack from a seed: memory files, history, a model in two shards, a collection."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from drkit.http_client import call_json
from drkit.io_policy import QDRANT_CALL

_WORDS = (
    "remember",
    "promise",
    "garden",
    "river",
    "letter",
    "music",
    "evening",
    "question",
    "answer",
    "quiet",
    "bright",
    "story",
    "friend",
    "journey",
    "morning",
    "silver",
    "window",
    "bread",
    "kindness",
    "doubt",
    "humour",
    "patience",
    "map",
)
_VOCABULARY = 2048
_VECTOR_SIZE = 64
_POINTS = 1000
COLLECTION, ALIAS = "memories-v1", "memories"


def make_tree(root: Path, *, seed: int, files: int) -> None:
    """Markdown and JSON files with links, odd names and modes, as an assistant's memory has."""
    rng = random.Random(seed)
    for number in range(files):
        folder = root / f"{2024 + number % 3}" / f"{number % 12 + 1:02}"
        folder.mkdir(parents=True, exist_ok=True)
        text = " ".join(rng.choices(_WORDS, k=rng.randint(60, 400)))
        if number % 4:
            (folder / f"note-{number:05}.md").write_text(f"# Note {number}\n\n{text}\n")
        else:
            record = {"id": number, "weight": rng.random(), "text": text}
            (folder / f"fact-{number:05}.json").write_text(json.dumps(record, indent=1))
    (root / "identity.md").write_text("# Who I am\n\nCurious, kind, and precise.\n")
    (root / "ünïcode and spaces.md").write_text("names need not be plain\n")
    (root / "private.json").write_text("{}\n")
    (root / "private.json").chmod(0o600)
    (root / "latest").symlink_to("identity.md")
    (root / "empty").mkdir()


def make_model(root: Path, *, seed: int, layers: int = 6, width: int = 512) -> None:
    """A valid model directory: two safetensors shards with an index, configuration, tokenizer."""
    root.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    shapes = _tensor_shapes(layers, width)
    names = list(shapes)
    half = len(names) // 2
    weight_map: dict[str, str] = {}
    for number, part in enumerate((names[:half], names[half:]), 1):
        shard = f"model-{number:05}-of-00002.safetensors"
        weight_map |= dict.fromkeys(part, shard)
        _write_safetensors(root / shard, {name: shapes[name] for name in part}, rng)
    _write_json(root / "model.safetensors.index.json", {"metadata": {}, "weight_map": weight_map})
    _write_json(
        root / "config.json",
        {
            "architectures": ["Qwen3ForCausalLM"],
            "model_type": "qwen3",
            "hidden_size": width,
            "num_hidden_layers": layers,
            "vocab_size": _VOCABULARY,
            "torch_dtype": "bfloat16",
        },
    )
    _write_tokenizer(root)


def _tensor_shapes(layers: int, width: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (_VOCABULARY, width)}
    for layer in range(layers):
        prefix = f"model.layers.{layer}."
        shapes |= {
            f"{prefix}input_layernorm.weight": (width,),
            f"{prefix}self_attn.qkv_proj.weight": (3 * width, width),
            f"{prefix}self_attn.o_proj.weight": (width, width),
            f"{prefix}mlp.gate_up_proj.weight": (4 * width, width),
            f"{prefix}mlp.down_proj.weight": (width, 2 * width),
        }
    shapes["model.norm.weight"] = (width,)
    return shapes


def _write_tokenizer(root: Path) -> None:
    tokens = [
        *_byte_characters(),
        *(f"{_WORDS[n % len(_WORDS)]}{n}" for n in range(256, _VOCABULARY)),
    ]
    vocab = {token: number for number, token in enumerate(tokens)}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    _write_json(
        root / "tokenizer.json",
        {
            "version": "1.0",
            "added_tokens": [],
            "pre_tokenizer": byte_level,
            "decoder": byte_level,
            "model": {"type": "BPE", "vocab": vocab, "merges": []},
        },
    )
    _write_json(root / "tokenizer_config.json", {"tokenizer_class": "Qwen2Tokenizer"})


def fill_qdrant(url: str, *, seed: int) -> None:
    """A collection with payloads and an alias, unless it is there."""
    present = call_json(url, "GET", "/collections", QDRANT_CALL)["result"]["collections"]
    if any(collection["name"] == COLLECTION for collection in present):
        return
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((_POINTS, _VECTOR_SIZE)).round(4).tolist()
    body: Any = {"vectors": {"size": _VECTOR_SIZE, "distance": "Cosine"}}
    call_json(url, "PUT", f"/collections/{COLLECTION}", QDRANT_CALL, body=body)
    points = [
        {"id": n, "vector": vector, "payload": {"topic": _WORDS[n % len(_WORDS)], "n": n}}
        for n, vector in enumerate(vectors, 1)
    ]
    call_json(
        url,
        "PUT",
        f"/collections/{COLLECTION}/points?wait=true",
        QDRANT_CALL,
        body={"points": points},
    )
    alias = {"create_alias": {"collection_name": COLLECTION, "alias_name": ALIAS}}
    call_json(url, "POST", "/collections/aliases", QDRANT_CALL, body={"actions": [alias]})


def _write_safetensors(
    path: Path, shapes: Mapping[str, tuple[int, ...]], rng: np.random.Generator
) -> None:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, shape in shapes.items():
        size = 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(encoded)))
        file.write(encoded)
        for shape in shapes.values():
            values = rng.standard_normal(int(np.prod(shape)), dtype=np.float32) * 0.02
            file.write((values.view(np.uint32) >> 16).astype("<u2").tobytes())


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1))


def _byte_characters() -> list[str]:
    """The character that byte-level BPE writes for each byte: itself where it is printable."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(others)) for byte in range(256)]
