"""Weights of `mode: repository` are cut as they lie, with what they are; links are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from drkit.clock import ManualClock
from drkit.config.sources import PrivateWeights, WeightsSource
from drkit.errors import NotInThisVersion
from drkit.events import discard
from drkit.secrets.memory import MemorySecrets
from drkit.sources.catalog import open_source
from drkit.sources.interface import Source, SourceUnreadable


def source(folder: Path) -> Source:
    config = PrivateWeights(
        kind="weights",
        mode="repository",
        path=str(folder),
        model="ours",
        revision="7",
        exclude=("*.bin",),
    )
    return open_source("ours", config, MemorySecrets(), clock=ManualClock())


def test_the_folder_is_cut_in_place_with_model_and_revision(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"x")
    cut = source(tmp_path).cut(tmp_path / "spool", discard)
    assert (cut.root, cut.staged) == (tmp_path.resolve(), False)
    assert cut.exclude.patterns == ("*.bin",)
    assert cut.facts == {"model": "ours", "revision": "7"}
    assert source(tmp_path).kind == "weights"


@pytest.mark.parametrize("to", ["a file", "a folder", "nothing"])
def test_a_cache_of_links_is_refused_as_what_they_lead_to_would_be_missing(
    tmp_path: Path, to: str
) -> None:
    blobs = tmp_path / "blobs"
    blobs.mkdir()
    (blobs / "a file").write_bytes(b"x")
    (blobs / "a folder").mkdir()
    (tmp_path / "snapshot" / "deep").mkdir(parents=True)
    (tmp_path / "snapshot" / "deep" / "model.safetensors").symlink_to(blobs / to)
    with pytest.raises(SourceUnreadable, match=r"model\.safetensors is a link") as refused:
        source(tmp_path / "snapshot").cut(tmp_path / "spool", discard)
    assert "mode: mirror" in refused.value.hint


def test_mirrored_weights_are_never_cut(tmp_path: Path) -> None:
    config = WeightsSource(kind="weights", path="/m", model="m", revision="1", stores=("gcs",))
    with pytest.raises(NotInThisVersion):
        open_source("m", config, MemorySecrets(), clock=ManualClock())
