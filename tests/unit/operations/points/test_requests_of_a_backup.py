"""What an unchanged hourly backup asks of each store, request by request."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from drkit.cli.repository.backing_up import run_backup
from drkit.config.load import load_config
from drkit.config.local_paths import with_absolute_paths
from drkit.events import discard
from drkit.repository.repository import init_repository
from drkit.stores.memory import MemoryStore
from drkit.wiring import App

CONFIG = """
drkit: 1
stores:
  gcs: {kind: folder, role: primary, path: ./gcs}
  s3: {kind: folder, role: backup, path: ./s3}
  b2: {kind: folder, role: archive, path: ./b2}
repository: {password: file:password}
sources:
  sncp: {kind: tree, path: ./source}
"""

# One listing before the locks (what is there, which point came last), one under them; the key is
# read from one store only.
ALLOWED = Counter(
    {
        "get repository/config": 1,
        "list repository": 2,
        "put repository/locks": 1,
        "put repository/data": 2,
        "put repository/index": 1,
        "stat repository/locks": 1,
        "put repository/snapshots": 1,
        "put repository-drkit/ledger": 1,
        "delete repository/locks": 1,
    }
)


class Asked(MemoryStore):
    """Every request, as the verb and the folder."""

    @property
    def requests(self) -> Counter[str]:
        return Counter(f"{call} {'/'.join(name.split('/')[:2])}" for call, name in self.calls)


@pytest.fixture
def stores() -> list[Asked]:
    return [Asked("gcs"), Asked("s3"), Asked("b2")]


def backup(root: Path, stores: list[Asked]) -> None:
    """As a process of its own would: opened anew, with what the machine kept."""
    for store in stores:
        store.calls.clear()
    app: Any = App(load_config(root / "schedules.yaml"), root, sandbox=False, emit=discard)
    app.__dict__["config"] = with_absolute_paths(app.config, root)
    app.__dict__["stores"] = tuple(stores)
    run_backup(app)


@pytest.fixture
def unchanged(tmp_path: Path, stores: list[Asked]) -> list[Asked]:
    (tmp_path / "schedules.yaml").write_text(CONFIG)
    (tmp_path / "password").write_text("secret")
    for number in range(20):
        folder = tmp_path / "source" / f"{number % 4}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.md").write_text(f"note {number}")
    app: Any = App(load_config(tmp_path / "schedules.yaml"), tmp_path, sandbox=False, emit=discard)
    from drkit.repository.format.keys import ScryptCost

    init_repository(
        stores,
        app.password,
        clock=app.clock,
        hostname="h",
        cost=ScryptCost(n=16, r=8, p=1),
    )
    for _ in range(3):
        backup(tmp_path, stores)
    return stores


def test_an_unchanged_backup_costs_twelve_requests_at_most(unchanged: list[Asked]) -> None:
    key = Counter({"get repository/keys": 1})
    assert unchanged[0].requests - ALLOWED - key == Counter()
    for store in unchanged[1:]:
        assert store.requests - ALLOWED == Counter()
    assert max(len(store.calls) for store in unchanged) <= 12


def test_what_this_machine_kept_is_no_need_but_a_saving(
    unchanged: list[Asked], tmp_path: Path
) -> None:
    import shutil

    shutil.rmtree(tmp_path / ".drkit" / "cache")
    backup(tmp_path, unchanged)
    assert len(unchanged[0].calls) > 12
    backup(tmp_path, unchanged)
    assert len(unchanged[0].calls) <= 12


def test_after_maintenance_many_points_are_opened_with_tens_of_requests(
    kit: Any, tmp_path: Path
) -> None:
    """A hundred points a day: one prune, and the index is few files in few packs again."""
    from drkit.repository.check.structure import check_structure
    from drkit.repository.prune.prune import PruneOptions, prune

    store = Asked("gcs")
    alone = kit.Kit([store]).init()
    (tmp_path / "source").mkdir()
    for number in range(100):
        (tmp_path / "source" / "note.md").write_text(f"note {number}")
        alone.backup(tmp_path / "source")
    before = opening(alone, store)
    options = PruneOptions({"gcs": "primary"}, lambda r, s: ("own", check_structure(r, s)))
    prune(alone.open(), options, alone.emit)
    alone.clock.advance(86_400)
    assert prune(alone.open(), options, alone.emit).deleted["gcs"] > 0
    after = opening(alone, store)
    assert before > 100
    assert after <= 12
    assert len(list(store.list("repository/data/"))) <= 4


def opening(kit: Any, store: Asked) -> int:
    """Requests until every blob can be found, with nothing kept on this machine."""
    store.calls.clear()
    assert len(kit.open().index) > 0
    return len(store.calls)
