"""Are these the weights? Every file is hashed and compared with the manifest."""

from __future__ import annotations

from pathlib import Path

from drkit.events import Emit
from drkit.mirror.manifest import Manifest
from drkit.mirror.read import verify_directory
from drkit.verify.proof import Proof


def verify_weights(manifest: Manifest, model_dir: Path, emit: Emit) -> Proof:
    """The proof that `model_dir` holds exactly the files of the manifest."""
    subject = f"{manifest.model} in {model_dir}"
    differences = verify_directory(manifest, model_dir, emit)
    if not differences:
        return Proof("weights SHA-256", subject, True, f"{len(manifest.files)} files are the same")
    first = differences[0]
    return Proof(
        "weights SHA-256",
        subject,
        False,
        f"{len(differences)} differ, the first: {first.path} {first.what}",
        tuple(difference.path for difference in differences),
    )
