"""The commands that look into a repository and after it, as they are typed, on two folders."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import two_folders
from click.testing import Result
from two_folders import STORES, use_cheap_keys, write_deployment

CONFIG = (
    STORES
    + """\
sources:
  notes: {kind: tree, path: notes}
  model: {kind: weights, path: model, model: tiny, revision: r1, stores: [disk, copy]}
check: {read_all_within: 2d, elsewhere_within: 4d}
schedules:
  check: {run: check, every: 1d, repair: true}
"""
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("place")
    (place / "notes").mkdir()
    (place / "notes" / "a.md").write_text("first")
    (place / "notes" / "b.bin").write_bytes(bytes(range(256)) * 2000)
    (place / "model").mkdir()
    for number in range(8):
        (place / "model" / f"part-{number}.bin").write_bytes(bytes([number]) * 5000)
    write_deployment(place, CONFIG)
    return place


@pytest.fixture(autouse=True)
def _cheap_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    use_cheap_keys(monkeypatch)


@pytest.fixture
def type_in(place: Path) -> Any:
    """Runs a command line in this process: its result, with status and output."""

    def type_in(*words: str) -> Result:
        return two_folders.type_in(place, *words)

    return type_in


@pytest.fixture
def run(type_in: Any) -> Any:
    """The lines that a command answers with --json; it has to end with `status`."""

    def run(*words: str, status: int = 0) -> list[dict[str, Any]]:
        done = type_in(*words, "--json")
        assert done.exit_code == status, done.output
        lines = map(json.loads, done.stdout.splitlines())
        return [line for line in lines if line["message_type"] not in ("status", "note")]

    return run


def packs(place: Path, store: str) -> Iterator[Path]:
    return (path for path in (place / store / "repository" / "data").rglob("*") if path.is_file())


def test_what_is_in_there_is_listed_found_compared_counted_and_dumped(
    run: Any, type_in: Any, place: Path
) -> None:
    run("init")
    run("backup")
    (place / "notes" / "a.md").write_text("second")
    (place / "notes" / "c.md").write_text("third")
    run("backup")

    first, second = run("snapshots")
    assert [each["id"] for each in run("snapshots", "--latest", "1")] == [second["id"]]
    nodes = run("ls", "latest:/notes")
    assert [node["path"] for node in nodes[1:]] == ["/a.md", "/b.bin", "/c.md"]
    assert [hit["snapshot"] for hit in run("find", "c.*")] == [second["id"]]
    changes = {each["path"]: each["modifier"] for each in run("diff", first["id"], "latest")[:-1]}
    assert changes["/notes/a.md"] == "M"
    assert changes["/notes/c.md"] == "+"
    assert run("stats", "latest", "--mode", "files-by-contents")[0]["total_file_count"] > 3
    run("ls", "latest:/nowhere", status=2)
    run("ls", "0000", status=2)

    assert type_in("dump", first["id"], "/notes/a.md", "-q").stdout == "first"
    run("dump", "latest", "/notes", "--target", str(place / "notes.tar"))
    with tarfile.open(fileobj=io.BytesIO((place / "notes.tar").read_bytes())) as archive:
        assert archive.getnames() == ["notes/a.md", "notes/b.bin", "notes/c.md"]

    run("tag", "latest", "--add", "pinned,by-hand")
    (pinned,) = run("snapshots", "--tag", "pinned")
    assert pinned["original"] == second["id"]
    assert pinned["stores"] == ["copy", "disk"]


def test_damage_in_one_store_is_found_and_put_back(run: Any, place: Path) -> None:
    victim = max(packs(place, "copy"), key=lambda path: path.stat().st_size)
    whole = victim.read_bytes()
    victim.write_bytes(whole[:99] + bytes([whole[99] ^ 1]) + whole[100:])
    rows = run("check", "--read-data", status=22)
    assert {row["store"]: row["sound"] for row in rows[:2]} == {"disk": True, "copy": False}
    assert victim.name in rows[1]["problems"][0]
    run("check", "--store", "disk", "--read-data")
    rows = run("check", "--read-data", "--repair")
    restored = [row["object"] for row in rows if row["message_type"] == "restored"]
    assert [name.rpartition("/")[2] for name in restored] == [victim.name]
    assert victim.read_bytes() == whole

    (place / "copy" / "repository" / "config").unlink()
    assert run("check", "--repair", status=3)
    run("repair", "config", "copy")
    run("check")
    due = run("check", "--due")
    said = [row for row in due if row["message_type"] == "read_turns"]
    assert [(row["source"], row["store"], row["days"], row["turns_read"]) for row in said] == [
        (None, "disk", 2, 1),
        (None, "copy", 4, 1),
        ("model", "disk", 2, 1),
        ("model", "copy", 4, 1),
    ]
    status = [row for row in run("status") if row["message_type"] == "read_turns"]
    assert status == said
    run("check", "--read-data-subset", "0/3", status=2)
    run("check", "--read-data", "--due", status=2)


def test_weights_are_read_by_turns_and_put_back_from_the_other_mirror(
    run: Any, place: Path
) -> None:
    victim = place / "disk" / "weights" / "tiny" / "r1" / "part-3.bin"
    whole = victim.read_bytes()
    victim.write_bytes(whole[:99] + bytes([whole[99] ^ 1]) + whole[100:])
    shutil.rmtree(place / ".drkit" / "check", ignore_errors=True)
    config = place / "schedules.yaml"
    config.write_text(CONFIG.replace("read_all_within: 2d", "read_all_within: 1d"))
    try:
        rows = run("check", "--due", status=22)
        (found,) = [row for row in rows if row["message_type"] == "weights_file"]
        assert (found["store"], found["path"], found["healed_from"]) == ("disk", "part-3.bin", "")
        rows = run("check", "--due", "--repair")
    finally:
        config.write_text(CONFIG)
    (mended,) = [row for row in rows if row["message_type"] == "weights_file"]
    assert (mended["path"], mended["healed_from"]) == ("part-3.bin", "copy")
    (disk, _) = [row for row in rows if row["message_type"] == "weights_check"]
    assert (disk["files"], disk["files_read"], disk["bytes_read"]) == (8, 8, 40_000)
    assert victim.read_bytes() == whole
    (turns, *_) = [row for row in rows if row.get("source") == "model" and "days" in row]
    assert (turns["store"], turns["turns_read"]) == ("disk", 1)


def test_losses_are_named_and_left_out(run: Any, place: Path) -> None:
    victim = max(packs(place, "disk"), key=lambda path: path.stat().st_size)
    shutil.rmtree(place / ".drkit" / "cache")  # what this machine has read is saved from there
    for store in ("disk", "copy"):
        path = place / store / victim.relative_to(place / "disk")
        whole = path.read_bytes()
        path.write_bytes(whole[:99] + bytes([whole[99] ^ 1]) + whole[100:])
    rows = run("check", "--read-data", "--repair", status=22)
    lost = [row["path"] for row in rows if row["message_type"] == "lost"]
    assert lost
    run("repair", "index", "--dry-run")
    rows = run("repair", "packs", status=22)
    assert sum(len(row["lost"]) for row in rows if row["message_type"] == "repaired_pack") == 1
    rows = run("repair", "snapshots", "--forget", status=22)
    assert [row["path"] for row in rows if row["message_type"] == "lost"] == lost
    run("check", "--read-data")
    assert any("repaired" in each["tags"] for each in run("snapshots"))


def test_the_password_changes_everywhere(run: Any, place: Path) -> None:
    (place / "second").write_text("battery staple\n")
    run("key", "add", "--new-password-file", str(place / "second"))
    keys = run("key", "list")
    assert [key["current"] for key in keys] == [True, False]
    assert all(key["stores"] == ["copy", "disk"] for key in keys)
    run("key", "remove", keys[0]["id"], status=24)
    run("key", "remove", keys[1]["id"])
    (change,) = run("key", "passwd", "--new-password-file", str(place / "second"))
    assert change["removed"] == [keys[0]["id"]]
    run("snapshots", status=12)
    (place / "password").write_text("battery staple")
    assert run("snapshots")
