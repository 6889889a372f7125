"""The requests that the cost is reckoned from, held against those that the real code makes.

A scaled run: 20 MB in 40 files, some tens of points, three stores that count. The figures of
drkit.operations.costs.requests may exceed the counts, and never fall short of them.
"""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from drkit.clock import ManualClock
from drkit.config.sources import WeightsSource
from drkit.coordination.memory import MemoryArbiter
from drkit.events import discard
from drkit.mirror.write import mirror_weights
from drkit.operations.checks.check_weights import check_weights
from drkit.operations.costs import requests
from drkit.operations.points.backup import back_up
from drkit.operations.points.cutting import Due
from drkit.points.find import choose_point, list_points
from drkit.repository.check.check import check_repository
from drkit.repository.format.keys import ScryptCost
from drkit.repository.repository import Repository, init_repository, open_repository
from drkit.repository.restore.restore import restore_tree
from drkit.sources.interface import Cut
from drkit.stores.counted import CountedStore, Counts
from drkit.stores.memory import MemoryStore

POINTS = 12
FILES, FILE_BYTES = 40, 500_000
STORED = FILES * FILE_BYTES


class Folder:
    """The tree, cut where it lies."""

    name = "sncp"
    kind = "tree"

    def __init__(self, root: Path, clock: ManualClock) -> None:
        self.root = root
        self.clock = clock

    def cut(self, _spool: Path, _emit: object) -> Cut:
        return Cut(self.root, self.clock.now())


class Deployment:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = ManualClock()
        self.rng = random.Random(1)
        self.stores = [CountedStore(MemoryStore(name)) for name in ("gcs", "s3", "b2")]
        self.arbiter = MemoryArbiter(self.clock)
        self.source = Folder(folder / "tree", self.clock)
        for number in range(FILES):
            self.write(number)
        cost = ScryptCost(1024, 8, 1)
        init_repository(self.stores, "pw", clock=self.clock, hostname="h", cost=cost)

    def write(self, number: int) -> None:
        place = self.source.root / str(number % 10) / f"{number}.bin"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(self.rng.randbytes(FILE_BYTES))

    def backup(self, repository: Repository) -> None:
        back_up(
            repository,
            Due({"sncp": self.source}, {}, ("sncp",), ()),
            service="assistant",
            arbiter=self.arbiter,
            stores=self.stores,
            min_copies=2,
            own_files={},
            record_golden=None,
            work_dir=self.folder / "work",
            clock=self.clock,
            emit=discard,
        )

    def counted(self, work: Callable[[Repository], object], *, cached: bool = True) -> list[Counts]:
        """What each store was asked, from the opening of the repository on, as a command does."""
        before = [store.counts for store in self.stores]
        self.clock.advance(900)
        work(
            open_repository(
                self.stores,
                "pw",
                clock=self.clock,
                emit=discard,
                hostname="h",
                cache_dir=self.folder / "cache" if cached else None,
            )
        )
        return [store.counts - then for store, then in zip(self.stores, before, strict=True)]


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    made = Deployment(tmp_path_factory.mktemp("counts"))
    for _ in range(POINTS):
        made.counted(made.backup)
    return made


def within(counted: Counts, reckoned: Counts) -> None:
    for kind in ("puts", "gets", "lists", "stats", "sent_bytes", "read_bytes"):
        assert getattr(counted, kind) <= getattr(reckoned, kind), (kind, counted, reckoned)


def test_an_unchanged_backup(deployment: Deployment) -> None:
    reckoned = requests.backup_requests(0, POINTS, STORED)
    for counted in deployment.counted(deployment.backup):
        within(counted, reckoned)
        assert reckoned.requests <= 2 * counted.requests  # a figure far off would mislead, too


def test_a_backup_that_finds_changes(deployment: Deployment) -> None:
    for number in range(4):
        deployment.write(number)
    new_bytes = 4 * FILE_BYTES
    for counted in deployment.counted(deployment.backup):
        assert counted.sent_bytes >= new_bytes
        within(counted, requests.backup_requests(new_bytes, POINTS + 2, STORED + new_bytes))


def test_a_backup_to_a_store_that_lists_page_by_page(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("drkit.stores.counted", "drkit.operations.costs.requests"):
        monkeypatch.setattr(f"{module}.PAGE", 5)
    for counted in deployment.counted(deployment.backup):
        assert counted.lists > 5
        within(counted, requests.backup_requests(0, POINTS + 3, 2 * STORED))


def test_a_check_of_the_structure(deployment: Deployment) -> None:
    def check(repository: Repository) -> None:
        check_repository(repository, read_data=False, emit=discard)

    for counted in deployment.counted(check):
        within(counted, requests.check_requests(POINTS + 4, 2 * STORED))


def test_reading_everything_back(deployment: Deployment) -> None:
    def restore(repository: Repository) -> None:
        found = choose_point(list_points(repository))
        node = repository.find_node(found.listed.snapshot, "/sncp")
        restore_tree(repository, node, deployment.folder / "back", discard)

    counted = sum(deployment.counted(restore), Counts())
    reckoned = requests.read_requests(STORED)
    assert STORED <= counted.read_bytes <= reckoned.read_bytes * 1.1 + (1 << 20)
    assert counted.gets <= reckoned.gets


def test_a_mirror_that_is_looked_at_and_one_that_is_sent(deployment: Deployment) -> None:
    folder = deployment.folder / "model"
    folder.mkdir()
    for name in ("config.json", "tokenizer.json", "vocabulary.txt"):
        (folder / name).write_bytes(deployment.rng.randbytes(1000))

    def mirror(_repository: Repository) -> None:
        mirror_weights(
            folder,
            model="m",
            revision="1",
            stores=deployment.stores[:2],
            cache=deployment.folder / "weights.json",
            emit=discard,
        )

    opening = Counts(gets=2, lists=1, read_bytes=2000)  # of the repository, for nothing
    sent, looked = deployment.counted(mirror), deployment.counted(mirror)
    for counted in sent[:2]:
        within(counted, requests.mirror_requests(3, 4096) + opening)
    for counted in looked[:2]:
        within(counted, requests.mirror_requests(3, 0) + opening)
        assert counted.puts == 0


def test_a_mirror_that_is_read_back(deployment: Deployment) -> None:
    folder = deployment.folder / "large"
    folder.mkdir()
    sizes = (17 << 20, 100, 0)
    for number, size in enumerate(sizes):
        (folder / f"{number}.bin").write_bytes(deployment.rng.randbytes(size))
    stores = deployment.stores[1:]
    cache = folder.with_suffix(".json")
    mirror_weights(folder, model="l", revision="1", stores=stores, cache=cache, emit=discard)
    names = ("s3", "b2")
    source = WeightsSource(kind="weights", path="/l", model="l", revision="1", stores=names)
    before = [store.counts for store in stores]
    check_weights({"w": source}, stores, read=True, repair=False, emit=discard)
    reckoned = requests.mirror_check_requests(3) + requests.mirror_read_requests(3, sum(sizes))
    for store, then in zip(stores, before, strict=True):
        counted = store.counts - then
        assert counted.read_bytes >= sum(sizes)
        within(counted, reckoned)
        assert reckoned.requests <= 2 * counted.requests


def test_a_list_of_many_objects_is_one_request_a_page() -> None:
    store = CountedStore(MemoryStore("m"))
    for number in range(2001):
        store.put(f"x/{number}", b"", size_bytes=0)
    assert len(list(store.list("x/"))) == 2001
    assert (store.counts.puts, store.counts.lists) == (2001, 3)
