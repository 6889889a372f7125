"""Full restores of one tree by drkit and each peer, every tool from a repository of its own."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

from bench.case import Bench, Command, Contender
from bench.data import same_tree
from bench.tools import borg, deployment, drkit, rclone, restic, run


def restores(bench: Bench, source: Path) -> list[Contender]:
    """drkit first, then the peers that are installed. What comes back is compared each time."""
    config = deployment(bench.root / "drkit", {"tree": source})
    run(drkit(config, "backup"))
    found = [_restore(bench, source, "drkit", ("restore", "--target"), config)]
    if bench.restic():
        repository = bench.root / "restic"
        run(restic(bench, repository, "init"))
        run(restic(bench, repository, "backup", source))
        out = bench.root / "out-restic"
        command = restic(bench, repository, "restore", "latest", "--target", out)
        found.append(_contender("restic", command, source, out, str(source).lstrip("/")))
    if "borg" in bench.peers:
        repository = bench.root / "borg"
        run(borg(bench, "init", "-e", "repokey-blake2", repository))
        run(borg(bench, "create", "--compression", "auto,zstd,3", f"{repository}::a", source))
        out = bench.root / "out-borg"
        extract = borg(bench, "extract", f"{repository}::a")
        command = Command(extract.argv, extract.env, out)
        found.append(_contender("borg", command, source, out, str(source).lstrip("/")))
    if "rclone" in bench.peers:
        run(rclone(bench, "sync", "-q", source, bench.root / "rclone"))
        out = bench.root / "out-rclone"
        command = rclone(bench, "copy", "-q", bench.root / "rclone", out)
        found.append(_contender("rclone (plain copy)", command, source, out, ""))
    return found


def _restore(
    bench: Bench, source: Path, name: str, arguments: tuple[str, ...], config: Path
) -> Contender:
    out = bench.root / f"out-{name}"
    return _contender(name, drkit(config, *arguments, out), source, out, "tree")


def _contender(name: str, command: Command, source: Path, out: Path, below: str) -> Contender:
    return Contender(
        name, (command,), before=partial(_clear, out), after=partial(_compare, source, out / below)
    )


def _clear(out: Path) -> None:
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()


def _compare(source: Path, out: Path) -> None:
    same_tree(source, out)
    shutil.rmtree(out)
