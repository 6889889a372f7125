"""ls, find, diff, stats and dump answer what the real restic answers on the same repository."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from stock_restic import Restic

from drkit.clock import SystemClock
from drkit.repository.dump.dump import dump
from drkit.repository.forget.tagging import TagChange, retag
from drkit.repository.key_ring import change_password
from drkit.repository.trees.diff import Diff
from drkit.repository.trees.find import Wanted, find_blobs, find_paths
from drkit.repository.trees.select import choose
from drkit.repository.trees.stats import MODES, count
from drkit.repository.trees.walk import Damages, entries, find_folder
from drkit.stores.folder import FolderStore


@pytest.fixture(scope="module")
def made(kit: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """Two points: files new, gone, changed, renamed, a file that became a folder, modes changed."""
    root = tmp_path_factory.mktemp("verbs")
    source = kit.make_odd_tree(root / "source")
    of = kit.Kit([FolderStore("gcs", root / "gcs")], SystemClock()).init()
    of.backup(source)
    (source / "notes" / "000.md").unlink()
    (source / "notes" / "001.md").write_text("another content")
    (source / "notes" / "002.md").rename(source / "notes" / "moved.md")
    (source / "notes" / "003.md").chmod(0o600)
    (source / "empty").unlink()
    (source / "empty").mkdir()
    (source / "empty" / "deep").mkdir()
    (source / "empty" / "deep" / "new.md").write_text("new")
    of.backup(source)
    return of, root


def restic_says(restic: Path, kit: ModuleType, root: Path, *arguments: str) -> bytes:
    return Restic(restic, root / "gcs", kit.PASSWORD).bytes_of(*arguments)


def lines(output: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines()]


def test_stats_count_as_restic_counts(restic: Path, kit: ModuleType, made: Any) -> None:
    of, root = made
    repository = of.open()
    for mode in MODES:
        said = json.loads(restic_says(restic, kit, root, "stats", "--mode", mode, "--json"))
        found = count(repository, repository.snapshots(), mode)
        assert found.bytes == said["total_size"], mode
        assert found.files == said.get("total_file_count", 0), mode
        assert found.blobs == said.get("total_blob_count", 0), mode
        if "compression_ratio" in said:
            assert found.uncompressed_bytes == said["total_uncompressed_size"]
            assert found.compression_ratio == pytest.approx(said["compression_ratio"])
            assert found.compression_progress == pytest.approx(said["compression_progress"])
            assert found.space_saving == pytest.approx(said["compression_space_saving"])


def test_diff_finds_what_restic_finds(restic: Path, kit: ModuleType, made: Any) -> None:
    of, root = made
    repository = of.open()
    first, second = repository.snapshots()
    for options in ([], ["--metadata"]):
        diff = Diff(repository, first.snapshot.tree, second.snapshot.tree, metadata=bool(options))
        found = {(change.path, change.modifier) for change in diff.changes()}
        said = lines(
            restic_says(restic, kit, root, "diff", "--json", *options, first.id, second.id)
        )
        changes = {(e["path"], e["modifier"]) for e in said if e["message_type"] == "change"}
        assert found == changes
        totals = said[-1]
        assert diff.totals.changed_files == totals["changed_files"]
        for side, words in ((diff.totals.added, "added"), (diff.totals.removed, "removed")):
            assert {key: getattr(side, key) for key in totals[words]} == totals[words]
    assert ("/sncp/empty/", "TU") in found
    assert ("/sncp/notes/001.md", "M") in found
    assert list(Diff(repository, first.snapshot.tree, first.snapshot.tree).changes()) == []


def test_ls_lists_what_restic_lists(restic: Path, kit: ModuleType, made: Any) -> None:
    of, root = made
    repository = of.open()
    chosen = choose(repository.snapshots(), "latest")
    said = lines(restic_says(restic, kit, root, "ls", "--json", chosen.listed.id))
    expected = {
        (e["path"], e["type"], e["uid"], e.get("mode", 0), e["mtime"], e.get("size") or 0)
        for e in said
        if e["struct_type"] == "node"
    }
    from drkit.cli.repository.nodes import node_values

    tree = chosen.listed.snapshot.tree
    values = [node_values(entry) for entry in entries(repository, tree)]
    # Go replaces what is no UTF-8; JSON of Python keeps it apart
    found = {
        (
            v["path"].encode("utf-8", "surrogateescape").decode("utf-8", "replace"),
            *(v["type"], v["uid"], v["mode"], v["mtime"], v.get("size", 0)),
        )
        for v in values
    }
    assert {entry[0] for entry in found} >= {"/sncp/empty/deep/new.md", "/.drkit/point.json"}
    assert {_without_bytes(entry) for entry in found} == {_without_bytes(e) for e in expected}


def _without_bytes(entry: tuple[Any, ...]) -> tuple[Any, ...]:
    return (entry[0].replace("�", ""), *entry[1:])


@pytest.mark.parametrize(
    "pattern",
    ["*.md", "moved.md", "notes/*", "/sncp/*/deep", "00[12].md", "/sncp/**/*.bin", "deep", "x"],
)
def test_find_finds_what_restic_finds(
    restic: Path, kit: ModuleType, made: Any, pattern: str
) -> None:
    of, root = made
    repository = of.open()
    damages = Damages(of.emit)
    said = json.loads(restic_says(restic, kit, root, "find", "--json", pattern) or b"[]")
    expected = {(each["snapshot"], hit["path"]) for each in said for hit in each["matches"]}
    found = {
        (listed.id, entry.path)
        for listed in repository.snapshots()
        for entry in find_paths(repository, listed.snapshot.tree, Wanted((pattern,)), damages)
    }
    assert found == expected
    assert bool(found) == (pattern != "x")


def test_a_blob_a_tree_and_a_pack_are_found_by_the_start_of_their_ids(made: Any) -> None:
    of, _root = made
    repository = of.open()
    listed = repository.snapshots()[-1]
    node = repository.find_node(listed.snapshot, "/sncp/notes/moved.md")
    damages = Damages(of.emit)

    def uses(prefix: str, kind: str) -> list[str]:
        found = find_blobs(repository, listed, [prefix], kind=kind, on_damage=damages)
        return [use.entry.path if use.entry else "/" for use in found]

    assert uses(node.content[0].hex()[:12], "blob") == ["/sncp/notes/moved.md"]
    assert uses(listed.snapshot.tree[:12], "tree") == ["/"]
    pack = repository.index.find(node.content[0]).pack_id
    assert "/sncp/notes/moved.md" in uses(pack[:12], "pack")
    assert uses("0" * 63, "blob") == []


def test_dump_gives_the_bytes_and_the_tar_that_restic_gives(
    restic: Path, kit: ModuleType, made: Any, tmp_path: Path
) -> None:
    of, root = made
    repository = of.open()
    tree = find_folder(repository, repository.snapshots()[-1].snapshot.tree, "/sncp")
    one = io.BytesIO()
    dump(repository, tree, "large.bin", one)
    assert one.getvalue() == restic_says(restic, kit, root, "dump", "latest", "/sncp/large.bin")

    def members(content: bytes) -> dict[str, tuple[Any, ...]]:
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            return {
                each.name.strip("/"): (
                    *(each.type, each.mode & 0o777, each.uid, each.gid, each.uname, each.linkname),
                    round(each.mtime),
                    archive.extractfile(each).read() if each.isfile() else None,  # type: ignore[union-attr]
                )
                for each in archive
                if not each.name.endswith("fifo")  # restic makes a plain file of it
            }

    ours = io.BytesIO()
    dump(repository, repository.snapshots()[-1].snapshot.tree, "/sncp/kinds", ours)
    said = members(restic_says(restic, kit, root, "dump", "latest", "/sncp/kinds"))
    found = members(ours.getvalue())
    assert {name for name in said if name not in found} <= {"sncp", "sncp/kinds", ""}
    assert {name: found[name] for name in found} == {name: said[name] for name in found}
    with tarfile.open(fileobj=io.BytesIO(ours.getvalue())) as archive:
        assert archive.getmember("sncp/kinds/setuid").mode == 0o6755
        attribute = archive.getmember("sncp/kinds/one").pax_headers.get(
            "SCHILY.xattr.user.drkit.test"
        )
        assert attribute is None or attribute.encode("utf-8", "surrogateescape") == b"\x00value\xff"


def test_dump_as_zip_holds_what_restics_holds(restic: Path, kit: ModuleType, made: Any) -> None:
    of, root = made
    repository = of.open()

    class Pipe(io.RawIOBase):
        """Standard output: nothing that was written can be gone back to."""

        def __init__(self) -> None:
            self.held = bytearray()

        def writable(self) -> bool:
            return True

        def write(self, content: Any) -> int:
            self.held += content
            return len(content)

    def members(content: bytes) -> dict[str, tuple[Any, ...]]:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            assert archive.testzip() is None
            return {
                each.filename.strip("/"): (
                    *(each.is_dir(), each.external_attr >> 16, each.date_time),
                    *(archive.read(each), each.extra[:4], each.extra[5:9]),
                )
                for each in archive.infolist()
                if not each.filename.endswith(("fifo", "/"))
                or (each.is_dir() and each.filename.count("/") > 2)
            }

    for folder in ("/sncp/kinds", "/sncp/notes"):
        pipe = Pipe()
        dump(repository, repository.snapshots()[-1].snapshot.tree, folder, pipe, "zip")  # type: ignore[arg-type]
        said = members(restic_says(restic, kit, root, "dump", "--archive", "zip", "latest", folder))
        found = members(bytes(pipe.held))
        assert len(found) > 3
        assert {name: found[name] for name in found} == {name: said[name] for name in found}
        assert {name for name in said if name not in found} <= {"sncp", folder[1:], ""}


def test_restic_opens_with_the_new_password_alone_and_sees_the_new_tags(
    restic: Path, kit: ModuleType, tmp_path: Path
) -> None:
    of = kit.Kit([FolderStore(name, tmp_path / name) for name in ("gcs", "s3")], SystemClock())
    of.init().backup(kit.make_plain_tree(tmp_path / "source", files=1), min_copies=2)
    (old,) = of.open().snapshots()
    (changed,) = retag(of.open(), [old], TagChange(replace=("pinned",)), of.emit)
    change_password(of.open(), kit.PASSWORD, "another", cost=kit.CHEAP)
    for name in ("gcs", "s3"):
        (said,) = json.loads(Restic(restic, tmp_path / name, "another")("snapshots", "--json"))
        assert (said["id"], said["tags"], said["original"]) == (changed.new_id, ["pinned"], old.id)
        with pytest.raises(AssertionError, match="wrong password"):
            Restic(restic, tmp_path / name, kit.PASSWORD)("snapshots")
