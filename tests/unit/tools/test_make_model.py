"""The made model is what a strict reader of the formats accepts; read here with code of its own."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import math
import struct
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "tools" / "make_model.py"
ITEM_BYTES = {"F32": 4, "BF16": 2}


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_model", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def model(tool: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory: Path = tmp_path_factory.mktemp("models") / "small"
    tool.make_model(directory, seed=7, mib=2)
    return directory


def shards(model: Path) -> list[Path]:
    return sorted(model.glob("*.safetensors"))


def read_shard(path: Path) -> tuple[dict[str, Any], bytes, int]:
    """Header entries without metadata, data, and the spaces after the header's JSON."""
    raw = path.read_bytes()
    (length,) = struct.unpack_from("<Q", raw)
    text = raw[8 : 8 + length]
    assert text.startswith(b"{")
    header = json.loads(text)
    assert header.pop("__metadata__") == {"format": "pt"}
    return header, raw[8 + length :], length - len(text.rstrip(b" "))


def test_tensors_lie_end_to_end_aligned_and_fill_the_file(model: Path) -> None:
    assert len(shards(model)) == 2
    for path in shards(model):
        header, data, _ = read_shard(path)
        end = 0
        for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
            begin, after = entry["data_offsets"]
            item = ITEM_BYTES[entry["dtype"]]
            assert begin == end, name
            assert after - begin == math.prod(entry["shape"]) * item, name
            assert begin % item == 0, name
            end = after
        assert end == len(data)


def test_headers_are_padded_to_eight_bytes_and_one_by_144_more(model: Path) -> None:
    padding = [read_shard(path)[2] for path in shards(model)]
    assert padding[0] < 8
    assert 144 <= padding[1] < 152
    for path in shards(model):
        assert struct.unpack("<Q", path.read_bytes()[:8])[0] % 8 == 0


def test_the_index_names_each_tensor_once_with_its_shard_and_the_sum(model: Path) -> None:
    index = json.loads((model / "model.safetensors.index.json").read_text())
    found: dict[str, str] = {}
    total = 0
    for path in shards(model):
        header, data, _ = read_shard(path)
        assert not found.keys() & header.keys()
        found |= dict.fromkeys(header, path.name)
        total += len(data)
    assert index["weight_map"] == found
    assert index["metadata"]["total_size"] == total


def test_odd_but_valid_tensors_are_there(model: Path) -> None:
    entries = {name: e for path in shards(model) for name, e in read_shard(path)[0].items()}
    assert {entry["dtype"] for entry in entries.values()} == {"BF16", "F32"}
    assert any(0 in entry["shape"] for entry in entries.values())
    assert any(entry["shape"] == [] for entry in entries.values())
    assert {e["dtype"] for n, e in entries.items() if n.endswith("down_proj.weight")} == {
        "BF16",
        "F32",
    }


def test_numbers_are_finite_and_not_all_the_same(model: Path) -> None:
    for path in shards(model):
        header, data, _ = read_shard(path)
        for name, entry in header.items():
            raw = data[slice(*entry["data_offsets"])]
            if entry["dtype"] == "F32":
                numbers = np.frombuffer(raw, "<f4")
            else:
                numbers = (np.frombuffer(raw, "<u2").astype("<u4") << 16).view("<f4")
            assert np.isfinite(numbers).all(), name
            if numbers.size > 1:
                assert 0.005 < numbers.std() < 0.04, name


def test_shapes_agree_with_the_configuration(model: Path) -> None:
    config = json.loads((model / "config.json").read_text())
    entries = {name: e for path in shards(model) for name, e in read_shard(path)[0].items()}
    hidden, head = config["hidden_size"], config["head_dim"]
    assert entries["model.embed_tokens.weight"]["shape"] == [config["vocab_size"], hidden]
    layers = {name.split(".")[2] for name in entries if name.startswith("model.layers.")}
    assert layers == {str(layer) for layer in range(config["num_hidden_layers"])}
    for layer in layers:
        at = f"model.layers.{layer}"
        assert entries[f"{at}.self_attn.q_proj.weight"]["shape"] == [
            config["num_attention_heads"] * head,
            hidden,
        ]
        assert entries[f"{at}.self_attn.v_proj.weight"]["shape"] == [
            config["num_key_value_heads"] * head,
            hidden,
        ]


def test_the_tokenizer_covers_every_byte_and_each_merge_makes_a_token(model: Path) -> None:
    tokenizer = json.loads((model / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    config = json.loads((model / "config.json").read_text())
    assert sorted(vocabulary.values()) == list(range(len(vocabulary)))
    assert sum(len(token) == 1 for token in vocabulary) == 256
    for left, right in tokenizer["model"]["merges"]:
        assert {left, right, left + right} <= vocabulary.keys()
    special = [token["id"] for token in tokenizer["added_tokens"]]
    assert min(special) == len(vocabulary)
    assert max(special) < config["vocab_size"]
    assert config["eos_token_id"] in special


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(
    tool: ModuleType, model: Path, tmp_path: Path
) -> None:
    def digests(directory: Path) -> dict[str, str]:
        return {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in directory.iterdir()
        }

    tool.make_model(tmp_path / "same", seed=7, mib=2)
    tool.make_model(tmp_path / "other", seed=8, mib=2)
    assert digests(tmp_path / "same") == digests(model)
    assert (
        digests(tmp_path / "other")[shards(model)[0].name] != digests(model)[shards(model)[0].name]
    )


def test_size_is_at_least_what_was_asked_for(tool: ModuleType) -> None:
    for mib in (1, 5, 56):
        total = sum(tensor.size_bytes for tensor in tool.tensors(tool.choose_size(mib)))
        assert mib * 2**20 <= total < mib * 2**20 + 20 * 2**20


def test_a_directory_that_holds_something_is_left_as_it_is(
    tool: ModuleType, tmp_path: Path
) -> None:
    (tmp_path / "mine").write_text("keep")
    assert tool.main([str(tmp_path), "--mib", "1"]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_the_reference_reader_accepts_every_tensor(model: Path) -> None:
    safetensors = pytest.importorskip(
        "safetensors", reason="the safetensors package is not installed"
    )
    for path in shards(model):
        header, _, _ = read_shard(path)
        with safetensors.safe_open(path, "np") as opened:
            assert set(opened.keys()) == set(header)
            for name, entry in header.items():
                tensor = opened.get_slice(name)
                assert tensor.get_shape() == entry["shape"]
                assert tensor.get_dtype() == entry["dtype"]
