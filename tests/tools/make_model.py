"""A valid model of a wanted size, from a seed: two safetensors shards, tokenizer, configuration.

    python tests/tools/make_model.py DIR --seed 7 --mib 56

Shapes and names follow Qwen3: a grouped-query decoder with norms on queries and keys. BF16 for the
matrices, F32 for norms and every third down projection; one tensor has no elements, one no
dimensions, and the second shard's header is padded by 144 bytes more than it needs, all of which
real files have had. The same seed and size give the same bytes. It needs numpy only, and shares no
code with the sandbox, so that the two cannot be wrong in the same way.
"""

from __future__ import annotations

import argparse
import json
import struct
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

ITEM_BYTES = {"F32": 4, "BF16": 2}
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
EXTRA_HEADER_PADDING = {SHARDS[1]: 144}
SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


@dataclass(frozen=True)
class Tensor:
    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def size_bytes(self) -> int:
        return prod(self.shape) * ITEM_BYTES[self.dtype]


@dataclass(frozen=True)
class Size:
    """Widths of the model. `layers` is what makes it as large as was asked for."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocabulary: int


def choose_size(mib: float) -> Size:
    """The fewest layers, two at least, with which the tensors fill `mib` MiB."""
    hidden, vocabulary = (512, 8192) if mib >= 32 else (128, 1024)
    layers = 2
    while True:
        size = Size(
            hidden=hidden,
            layers=layers,
            heads=hidden // 64,
            kv_heads=max(1, hidden // 128),
            head_dim=128,
            intermediate=3 * hidden,
            vocabulary=vocabulary,
        )
        if sum(tensor.size_bytes for tensor in tensors(size)) >= mib * 2**20:
            return size
        layers += 1


def tensors(size: Size) -> Iterator[Tensor]:
    """Every tensor, in the order of the layers."""
    yield Tensor("model.embed_tokens.weight", "BF16", (size.vocabulary, size.hidden))
    queries, keys = size.heads * size.head_dim, size.kv_heads * size.head_dim
    for layer in range(size.layers):
        at = f"model.layers.{layer}"
        yield Tensor(f"{at}.input_layernorm.weight", "F32", (size.hidden,))
        yield Tensor(f"{at}.self_attn.q_proj.weight", "BF16", (queries, size.hidden))
        yield Tensor(f"{at}.self_attn.k_proj.weight", "BF16", (keys, size.hidden))
        yield Tensor(f"{at}.self_attn.v_proj.weight", "BF16", (keys, size.hidden))
        yield Tensor(f"{at}.self_attn.o_proj.weight", "BF16", (size.hidden, queries))
        yield Tensor(f"{at}.self_attn.q_norm.weight", "F32", (size.head_dim,))
        yield Tensor(f"{at}.self_attn.k_norm.weight", "F32", (size.head_dim,))
        yield Tensor(f"{at}.post_attention_layernorm.weight", "F32", (size.hidden,))
        yield Tensor(f"{at}.mlp.gate_proj.weight", "BF16", (size.intermediate, size.hidden))
        yield Tensor(f"{at}.mlp.up_proj.weight", "BF16", (size.intermediate, size.hidden))
        down = "F32" if layer % 3 == 2 else "BF16"
        yield Tensor(f"{at}.mlp.down_proj.weight", down, (size.hidden, size.intermediate))
    yield Tensor("model.norm.weight", "F32", (size.hidden,))
    yield Tensor("model.rotary_emb.inv_freq_extra", "F32", (0,))
    yield Tensor("lm_head.logit_scale", "BF16", ())
    yield Tensor("lm_head.weight", "BF16", (size.vocabulary, size.hidden))


def split(all_tensors: Sequence[Tensor]) -> dict[str, list[Tensor]]:
    """Two shards of about the same size. Within a shard wide items come first, then by name, so
    that every tensor lies aligned to its item, as the reference writer has it.
    """
    half = sum(tensor.size_bytes for tensor in all_tensors) / 2
    shards: dict[str, list[Tensor]] = {name: [] for name in SHARDS}
    taken = 0
    for tensor in all_tensors:
        shards[SHARDS[0] if taken < half else SHARDS[1]].append(tensor)
        taken += tensor.size_bytes
    for shard in shards.values():
        shard.sort(key=lambda tensor: (-ITEM_BYTES[tensor.dtype], tensor.name))
    return shards


def encode_header(shard: Sequence[Tensor], extra_padding: int) -> bytes:
    """Length (u64, little endian) and JSON, padded with spaces to eight bytes and then some."""
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for tensor in shard:
        end = offset + tensor.size_bytes
        entries[tensor.name] = {
            "dtype": tensor.dtype,
            "shape": list(tensor.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8 + extra_padding)
    return struct.pack("<Q", len(text)) + text


def values(tensor: Tensor, seed: int, position: int) -> bytes:
    """Weights as training leaves them: around one in norms, small around zero elsewhere."""
    random = np.random.default_rng([seed, position])
    drawn = random.standard_normal(tensor.shape, dtype=np.float32)
    if "norm" in tensor.name or tensor.shape == ():
        drawn = np.float32(1) + np.float32(0.02) * drawn
    else:
        drawn = drawn * np.float32(0.02)
    if tensor.dtype == "F32":
        return drawn.astype("<f4").tobytes()
    bits = np.asarray(drawn, dtype="<f4").reshape(-1).view("<u4")
    rounded = bits + (np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1)))
    halves: bytes = (rounded >> np.uint32(16)).astype("<u2").tobytes()
    return halves


def byte_alphabet() -> list[str]:
    """A printable character for each of the 256 bytes, as byte-level tokenizers write them."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    characters = {byte: chr(byte) for byte in printable}
    characters |= {byte: chr(256 + index) for index, byte in enumerate(others)}
    return [characters[byte] for byte in range(256)]


def make_tokenizer(seed: int, vocabulary: int) -> dict[str, object]:
    """tokenizer.json: byte-level BPE. The last ids are the special tokens; some ids stay free."""
    random = np.random.default_rng([seed, 2**31])
    tokens = byte_alphabet()
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    known = set(tokens)
    pieces = [*letters, "Ġ"]
    merges: list[list[str]] = []
    while len(tokens) < vocabulary - 64:
        left, right = pieces[random.integers(len(pieces))], pieces[random.integers(len(pieces))]
        merged = left + right
        if merged in known or len(merged) > 12 or "Ġ" in right:
            continue
        known.add(merged)
        tokens.append(merged)
        pieces.append(merged)
        merges.append([left, right])
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": len(tokens) + index,
                "content": content,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for index, content in enumerate(SPECIAL_TOKENS)
        ],
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": byte_level | {"use_regex": True},
        "post_processor": byte_level | {"use_regex": False},
        "decoder": byte_level | {"use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": {token: index for index, token in enumerate(tokens)},
            "merges": merges,
        },
    }


def side_files(size: Size, seed: int, shards: dict[str, list[Tensor]]) -> dict[str, object]:
    """The JSON files beside the shards."""
    first_special = size.vocabulary - 64
    every = [tensor for shard in shards.values() for tensor in shard]
    return {
        "config.json": {
            "architectures": ["Qwen3ForCausalLM"],
            "model_type": "qwen3",
            "hidden_size": size.hidden,
            "num_hidden_layers": size.layers,
            "num_attention_heads": size.heads,
            "num_key_value_heads": size.kv_heads,
            "head_dim": size.head_dim,
            "intermediate_size": size.intermediate,
            "vocab_size": size.vocabulary,
            "max_position_embeddings": 8192,
            "hidden_act": "silu",
            "rms_norm_eps": 1e-06,
            "rope_theta": 1000000,
            "tie_word_embeddings": False,
            "torch_dtype": "bfloat16",
            "bos_token_id": first_special,
            "eos_token_id": first_special + 2,
        },
        "generation_config.json": {
            "bos_token_id": first_special,
            "eos_token_id": [first_special + 2, first_special],
            "pad_token_id": first_special,
            "do_sample": True,
            "temperature": 0.6,
            "top_k": 20,
            "top_p": 0.95,
        },
        "tokenizer_config.json": {
            "tokenizer_class": "Qwen2Tokenizer",
            "model_max_length": 8192,
            "eos_token": SPECIAL_TOKENS[2],
            "pad_token": SPECIAL_TOKENS[0],
            "additional_special_tokens": list(SPECIAL_TOKENS[1:]),
            "chat_template": (
                "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
                "{{ message['content'] }}<|im_end|>\n{% endfor %}"
                "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
            ),
        },
        "tokenizer.json": make_tokenizer(seed, size.vocabulary),
        "model.safetensors.index.json": {
            "metadata": {"total_size": sum(tensor.size_bytes for tensor in every)},
            "weight_map": {
                tensor.name: shard
                for shard, members in sorted(shards.items())
                for tensor in sorted(members, key=lambda tensor: tensor.name)
            },
        },
    }


def make_model(directory: Path, *, seed: int, mib: float) -> int:
    """Writes the model into `directory`, which must be absent or empty. Returns its bytes."""
    if directory.exists() and any(directory.iterdir()):
        raise FileExistsError(f"{directory} is not empty")
    directory.mkdir(parents=True, exist_ok=True)
    size = choose_size(mib)
    shards = split(list(tensors(size)))
    position = 0
    for name, shard in shards.items():
        with (directory / name).open("xb") as file:
            file.write(encode_header(shard, EXTRA_HEADER_PADDING.get(name, 0)))
            for tensor in shard:
                file.write(values(tensor, seed, position))
                position += 1
    for name, content in side_files(size, seed, shards).items():
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        (directory / name).write_text(text, encoding="utf-8")
    return sum(path.stat().st_size for path in directory.iterdir())


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description="Makes a valid model of a wanted size.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--mib", type=float, default=56)
    arguments = parser.parse_args(argv)
    try:
        size_bytes = make_model(arguments.directory, seed=arguments.seed, mib=arguments.mib)
    except FileExistsError as error:
        print(f"{error}; name a directory that does not exist yet", file=sys.stderr)
        return 2
    print(f"{arguments.directory}: {size_bytes} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
