"""A whole drill on what nobody here wrote: the machine's own files, and a model made elsewhere."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Deployment

TOOLS = Path(__file__).resolve().parents[1] / "tools"
EVERYTHING = "%P\\t%y\\t%m\\t%U:%G\\t%n\\t%T@\\t%l\\0"


def make(tool: str, place: Path, *words: str) -> Path:
    subprocess.run([sys.executable, TOOLS / tool, place, *words], check=True)
    return place


def listing(root: Path) -> list[bytes]:
    """Path, kind, mode, owner, links, modification time and target of all below `root`."""
    found = subprocess.run(
        ["find", ".", "-mindepth", "1", "-printf", EVERYTHING],
        cwd=root,
        check=True,
        capture_output=True,
    )
    return sorted(found.stdout.split(b"\0"))


def same_content(source: Path, restored: Path) -> bool:
    difference = ["diff", "-r", "--no-dereference", source, restored]
    return subprocess.run(difference).returncode == 0


def test_real_files_and_a_model_made_elsewhere_survive_a_drill_to_the_last_bit(
    fresh: Deployment, tmp_path: Path
) -> None:
    real = make("real_tree.py", tmp_path / "real", "--each", "150")
    model = make("make_model.py", tmp_path / "model", "--seed", "7", "--mib", "56")
    source = listing(real)
    assert len(source) > 300
    assert len(list(model.glob("*.safetensors"))) == 2
    schedules = fresh.folder / "schedules.yaml"
    schedules.write_text(schedules.read_text().replace("/srv/models/Qwen3-4B", str(model)))
    fresh.done("run-drill", "--data", str(real))
    proofs = {(p["check"], p["subject"]): p["passed"] for p in fresh.evidence()["proofs"]}
    assert proofs["tree digests", "sncp"]
    assert all(proofs.values())
    fresh.done("restore", "--target", "out")
    out = fresh.folder / "out"
    assert same_content(real, out / "sncp")
    assert listing(out / "sncp") == source
    assert same_content(model, out / "weights")
    assert listing(real) == source
