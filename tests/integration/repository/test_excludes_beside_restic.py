"""What stays out of a point, beside what a stock restic leaves out of the same tree."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from drkit.clock import SystemClock
from drkit.repository.restore.restore import walk
from drkit.sources.interface import Excludes
from drkit.sources.patterns import checked, read_patterns
from drkit.stores.folder import FolderStore
from drkit.stores.memory import MemoryStore

ByRestic = Callable[..., set[str]]
CACHE_TAG = "Signature: 8a477f597d28d172789f06886806bc55\nmore"

PATTERNS: dict[str, tuple[str, ...]] = {
    "a name": ("note.md",),
    "a name of a folder": ("deep",),
    "a glob": ("*.o", "*.[ch]"),
    "a class that is negated": ("[^a-m]*.txt",),
    "one character": ("?.c", "a?txt"),
    "two parts anywhere": ("src/*.c",),
    "two parts that are none": ("source/src/nothing", "lib/src"),
    "any number of parts": ("src/**/x.c",),
    "all below and itself": ("build/**",),
    "from the top": ("{root}/src",),
    "from the top, with any parts": ("{root}/**/deep/*.txt",),
    "from the top of another place": ("/src", "/etc"),
    "a slash at the end": ("build/", "note.md/"),
    "an escaped star": (r"star\*",),
    "a star is taken for itself in a class": ("star[*]",),
    "a dot is no wildcard": ("x.c", ".hidden"),
    "taken back": ("*.c", "!x.c"),
    "taken back in an order that does nothing": ("!x.c", "*.c"),
    "taken back below a folder that stays out": ("build", "!build/keep"),
    "everything below but": ("root/*", "!root/src", "!*.txt"),
    "case counts": ("NOTE.md", "SRC"),
    "not cleaned": ("./src/../note.md", "src//deep"),
    "names that are no text": ("*\xff*".encode("latin-1").decode("utf-8", "surrogateescape"),),
    "letters of any script": ("ż*", "?ółć"),
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "outer" / "root"
    for name in (
        *("note.md", "NOTE.md", "x.c", "y.c", "y.h", "z.o", "star*", "starry", ".hidden", "ab"),
        *("src/x.c", "src/y.c", "src/deep/x.c", "src/deep/a.txt", "src/deep/z.txt", "src/deep/q"),
        *("lib/src/x.c", "lib/SRC/x.c", "build/one.o", "build/keep", "build/deep/two.o"),
        *("żółć", "cache/CACHEDIR.TAG", "cache/data/one", "cache/two", "fake/CACHEDIR.TAG"),
        *("fake/data", "marked/.nobackup", "marked/data", "large/a", "large/b", "large/c"),
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"content")
    (root / "cache" / "CACHEDIR.TAG").write_text(CACHE_TAG)
    for name, size in (("a", 1023), ("b", 1024), ("c", 1025)):
        (root / "large" / name).write_bytes(b"x" * size)
    (root / "large" / "folder").mkdir()
    Path(os.fsdecode(os.fsencode(root) + b"/raw\xff")).write_bytes(b"raw")
    return root


@pytest.fixture
def by_restic(restic: Path, kit: ModuleType, tmp_path: Path) -> ByRestic:
    """Paths below a folder in what restic backed up with some options; with a key that is cheap."""
    kit.Kit([FolderStore("gcs", tmp_path / "gcs")], SystemClock()).init()
    command = [str(restic), "-r", str(tmp_path / "gcs" / "repository"), "--no-cache"]

    def run(*arguments: str) -> str:
        environment = {**os.environ, "RESTIC_PASSWORD": kit.PASSWORD}
        done = subprocess.run([*command, *arguments], env=environment, capture_output=True)
        assert done.returncode == 0, done.stderr.decode()
        return os.fsdecode(done.stdout)

    def listed(root: Path, *options: str) -> set[str]:
        run("backup", str(root), "--force", *options)
        start = f"{root}/"
        lines = run("ls", "latest").splitlines()
        return {line.removeprefix(start) for line in lines if line.startswith(start)}

    return listed


def by_drkit(kit: ModuleType, root: Path, excludes: Excludes) -> set[str]:
    alone: Any = kit.Kit([MemoryStore("gcs")]).init()
    alone.backup(root, excludes=checked(excludes))
    repository = alone.open()
    node = repository.find_node(alone.latest(repository).snapshot, "/sncp")
    return {os.fsdecode(item.path.relative_to("/")) for item in walk_all(repository, node.subtree)}


def walk_all(repository: Any, tree_id: str) -> list[Any]:
    return list(walk(repository, tree_id, Path("/")))


def test_every_form_of_pattern_leaves_out_what_restic_leaves_out(
    by_restic: ByRestic, kit: ModuleType, tree: Path, tmp_path: Path
) -> None:
    everything = by_drkit(kit, tree, Excludes())
    told = 0
    for name, patterns in PATTERNS.items():
        patterns = tuple(pattern.replace("{root}", str(tree)) for pattern in patterns)
        options = [f"--exclude={pattern}" for pattern in patterns]
        found = by_drkit(kit, tree, Excludes(patterns=patterns))
        assert found == by_restic(tree, *options), name
        told += found != everything
    assert told > len(PATTERNS) // 2, "most of them leave something out"
    for name in ("case counts", "letters of any script", "a class that is negated", "taken back"):
        options = [f"--iexclude={pattern}" for pattern in PATTERNS[name]]
        found = by_drkit(kit, tree, Excludes(ipatterns=PATTERNS[name]))
        assert found == by_restic(tree, *options), name


def test_drawn_patterns_leave_out_what_restic_leaves_out(
    by_restic: ByRestic, kit: ModuleType, tree: Path, tmp_path: Path
) -> None:
    rng = random.Random(7)
    parts = ["src", "deep", "x.c", "*", "**", "?*", "[a-s]*", "*.c", "build", "[^x]*", "lib", "z*"]
    for _ in range(8):
        patterns = tuple(
            rng.choice(("", "", "", "!"))
            + rng.choice(("", "", f"{tree}/"))
            + "/".join(rng.choices(parts, k=rng.randint(1, 3)))
            for _ in range(rng.randint(1, 3))
        )
        options = [f"--exclude={pattern}" for pattern in patterns]
        # a pattern that matches the source itself leaves nothing over in restic
        if expected := by_restic(tree, *options):
            assert by_drkit(kit, tree, Excludes(patterns=patterns)) == expected, patterns


def test_sizes_cache_tags_marks_and_files_of_patterns_as_restic_has_them(
    by_restic: ByRestic,
    kit: ModuleType,
    tree: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = "# a comment\n\n  *.o  \n$DRAWN\n${DRAWN}.x\nstar$$\n"
    (tmp_path / "patterns").write_text(lines)
    (tree / "star$").write_text("x")
    monkeypatch.setenv("DRAWN", "ab")
    cases: list[tuple[list[str], Excludes]] = [
        (["--exclude-larger-than", "1K"], Excludes(larger_than_bytes=1024)),
        (["--exclude-caches"], Excludes(caches=True)),
        (["--exclude-if-present", ".nobackup"], Excludes(if_present=(".nobackup",))),
        (
            ["--exclude-if-present", "CACHEDIR.TAG:content"],
            Excludes(if_present=("CACHEDIR.TAG:content",)),
        ),
        (
            ["--exclude-file", str(tmp_path / "patterns")],
            Excludes(patterns=read_patterns(lines)),
        ),
        (["--one-file-system"], Excludes(one_file_system=True)),
    ]
    for options, excludes in cases:
        expected = by_restic(tree, *options)
        assert by_drkit(kit, tree, excludes) == expected, options
