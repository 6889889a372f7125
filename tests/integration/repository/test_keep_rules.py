"""The keep-rules keep what `restic forget` keeps: the real one is asked, on the same snapshots."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import orjson
import pytest

from drkit.cli.repository.keep_rules import typed_rules
from drkit.clock import SystemClock
from drkit.repository.forget.retention import PERIODS, judge
from drkit.repository.format.layout import SNAPSHOTS
from drkit.stores.folder import FolderStore

ROUNDS = 14


@pytest.fixture
def full(kit: ModuleType, tmp_path: Path) -> Any:
    """One store with a hundred snapshots over three years, in several time zones."""
    store = FolderStore("gcs", tmp_path / "gcs")
    made = kit.Kit([store], SystemClock()).init()
    (tmp_path / "source").mkdir()
    made.backup(tmp_path / "source")
    repository = made.open()
    tree = repository.snapshots()[0].snapshot.tree
    store.delete(SNAPSHOTS + repository.snapshots()[0].id)
    rng = random.Random(7)
    moment = datetime(2024, 1, 5, 10, 30, tzinfo=UTC)  # on any day the same weeks and months
    for _ in range(100):
        moment -= timedelta(seconds=rng.choice((60, 900, 3600, 7200, 86400, 400_000, 3_000_000)))
        zone = rng.choice(("Z", "+02:00", "-08:00", "+05:30"))
        content = {
            "time": f"{moment:%Y-%m-%dT%H:%M:%S}.{rng.randrange(1000):03}{zone}",
            "tree": tree,
            "paths": ["/sncp"],
            "hostname": "host",
            "tags": rng.sample(("a", "b", "c"), rng.randrange(3)),
        }
        sealed = repository.key.seal(orjson.dumps(content))
        name = SNAPSHOTS + hashlib.sha256(sealed).hexdigest()
        store.put(name, sealed, size_bytes=len(sealed))
    return made


def draw(rng: random.Random) -> tuple[dict[str, str], dict[str, str], list[str]]:
    """Some counts, some spans, some tags; never nothing."""
    counts = {p: str(rng.randint(1, 12)) for p in PERIODS if rng.random() < 0.3}
    spans = {
        period: rng.choice(("1d", "36h", "3m", "1y2m", "2m5d3h", "400d"))
        for period in ("", *PERIODS[1:])
        if rng.random() < 0.2
    }
    tags = rng.sample(("a", "b", "a,b", "c,a"), rng.choice((0, 0, 1, 2)))
    return (counts or {"last": "3"}), spans, tags


def test_the_rules_keep_what_restic_keeps(restic: Path, kit: ModuleType, full: Any) -> None:
    snapshots = full.open().snapshots()
    assert len(snapshots) == 100
    rng = random.Random(11)
    for _ in range(ROUNDS):
        counts, spans, tags = draw(rng)
        options = [f"--keep-{period}={count}" for period, count in counts.items()]
        options += [f"--keep-within{'-' * bool(p)}{p}={span}" for p, span in spans.items()]
        options += [f"--keep-tag={each}" for each in tags]
        theirs = ask(restic, kit, full.stores[0].root, options)
        verdicts = judge(snapshots, typed_rules(counts, spans, tags), datetime.now(UTC))
        ours = {verdict.listed.id for verdict in verdicts if verdict.reasons}
        # restic 0.14 does not keep the oldest one of a count that is not used up
        without_oldest = {
            verdict.listed.id
            for verdict in verdicts
            if any(not reason.startswith("oldest") for reason in verdict.reasons)
        }
        assert theirs in (ours, without_oldest), options


def ask(restic: Path, kit: ModuleType, root: Path, options: list[str]) -> set[str]:
    done = subprocess.run(
        [
            *(str(restic), "-r", str(root / "repository"), "--no-cache", "forget"),
            *("--dry-run", "--json", "--group-by", "", *options),
        ],
        env={**os.environ, "RESTIC_PASSWORD": kit.PASSWORD},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    line = next(line for line in done.stdout.splitlines() if line.startswith("[{"))
    return {one["id"] for group in json.loads(line) for one in group["keep"] or ()}
