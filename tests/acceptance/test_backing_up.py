"""`drkit backup` by the real command: excludes, files that change, accidents, and their ends."""

from __future__ import annotations

import json
from pathlib import Path

from real_command import said

PROJECT = Path(__file__).resolve().parents[2]

CONFIG = """\
drkit: 1
stores:
  near: {kind: folder, role: primary, path: near}
  far: {kind: folder, role: backup, path: far}
repository: {password: "file:password"}
sources:
  notes:
    kind: tree
    path: notes
    exclude: ["*.tmp"]
    exclude_caches: true
"""


def test_what_is_left_out_flagged_and_acknowledged(tmp_path: Path) -> None:
    (tmp_path / "schedules.yaml").write_text(CONFIG)
    (tmp_path / "password").write_text("a password of tests")
    notes = tmp_path / "notes"
    (notes / "cache").mkdir(parents=True)
    (notes / "cache" / "CACHEDIR.TAG").write_text("Signature: 8a477f597d28d172789f06886806bc55\n")
    for name in ("draft.tmp", "draft.o", "cache/blob", "large"):
        (notes / name).write_text("x" * (5000 if name == "large" else 10))
    for number in range(20):
        (notes / f"{number:02}.md").write_text(f"note {number} " * 500)
    assert said(tmp_path, "init")[0] == 0

    code, out = said(tmp_path, "backup", "--exclude", "[a-")
    assert code == 2, out
    assert "[a-" in out
    code, out = said(tmp_path, "backup", "--exclude=*.o", "--exclude-larger-than", "9K", "--json")
    assert code == 0, out
    code, out = said(tmp_path, "ls", "latest")
    assert code == 0, out
    assert "/notes/cache/CACHEDIR.TAG" in out
    assert "/notes/19.md" in out
    assert not [name for name in ("draft", "blob") if name in out]

    for number in range(15):
        (notes / f"{number:02}.md").unlink()
    code, out = said(tmp_path, "backup", "--exclude=*.o", "--json")
    assert code == 25, out
    told = next(json.loads(line) for line in out.splitlines() if '"snapshot_id"' in line)
    assert "notes: 22 files became 7" in told["anomalies"], told
    code, out = said(tmp_path, "status")
    assert code == 25, out
    assert "drkit ack" in out
    code, out = said(tmp_path, "forget", "--keep-last", "1")
    assert code == 25, out
    assert said(tmp_path, "ack", "ffff")[0] == 2
    code, out = said(tmp_path, "ack", told["snapshot_id"][:8])
    assert code == 0, out
    assert "near, far" in out
    assert said(tmp_path, "status")[0] == 0
    code, out = said(tmp_path, "backup", "--exclude=*.o")
    assert code == 0, out
