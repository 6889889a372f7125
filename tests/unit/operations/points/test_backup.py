"""A backup cuts what is due, carries over the rest, and says what it could not do."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from drkit.clock import ManualClock
from drkit.coordination.interface import RoleRecord
from drkit.coordination.memory import MemoryArbiter
from drkit.errors import TooFewCopies
from drkit.events import Note
from drkit.operations.points.backup import back_up
from drkit.operations.points.cutting import Due
from drkit.operations.status.status import proof_content, proof_name, status_of
from drkit.points.find import choosable, choose_point, list_points
from drkit.repository.backup.anomaly import INCOMPLETE_TAG
from drkit.repository.format.keys import ScryptCost
from drkit.repository.format.layout import pack_name
from drkit.repository.repository import init_repository, open_repository
from drkit.repository.restore.restore import restore_tree
from drkit.sources.interface import Cut, SourceUnreadable
from drkit.stores.memory import MemoryStore


class FolderSource:
    """A tree in a folder, which can be told that it cannot be read."""

    kind = "tree"

    def __init__(self, name: str, root: Path, clock: ManualClock) -> None:
        self.name = name
        self.root = root
        self.clock = clock
        self.readable = True

    def cut(self, spool: Path, emit) -> Cut:
        assert list(spool.iterdir()) == []
        if not self.readable:
            raise SourceUnreadable(f"{self.name} is away", hint="bring it back")
        return Cut(self.root, self.clock.now(), facts={"cut of": self.name})


class Deployment:
    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self.stores = [MemoryStore(name) for name in ("gcs", "s3", "b2")]
        self.events = []
        self.arbiter = MemoryArbiter(self.clock)
        self.work_dir = folder / "work"
        self.sources = {}
        for name in ("sncp", "history"):
            root = folder / name
            root.mkdir()
            (root / "one.md").write_text(f"the first file of {name}\n")
            self.sources[name] = FolderSource(name, root, self.clock)
        init_repository(
            self.stores, "pw", clock=self.clock, hostname="h", cost=ScryptCost(1024, 8, 1)
        )

    def open(self):
        return open_repository(
            self.stores, "pw", clock=self.clock, emit=self.events.append, hostname="h"
        )

    def back_up(self, *due: str, min_copies: int = 2):
        names = due or tuple(self.sources)
        self.clock.advance(600)
        return back_up(
            self.open(),
            Due({n: self.sources[n] for n in names}, {}, tuple(self.sources), ()),
            service="assistant",
            arbiter=self.arbiter,
            stores=self.stores,
            min_copies=min_copies,
            own_files={"schedules.yaml": b"drkit: 1\n"},
            record_golden=None,
            work_dir=self.work_dir,
            clock=self.clock,
            emit=self.events.append,
        )


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    return Deployment(tmp_path)


def cut_at(report, source: str) -> datetime:
    return report.point.sources[source].cut_at


def test_a_point_holds_every_source_and_each_store_holds_the_point(deployment) -> None:
    report = deployment.back_up()
    (found,) = list_points(deployment.open())
    assert found.point == report.point
    assert found.point.complete
    assert found.listed.stores == {"gcs", "s3", "b2"}
    assert set(found.point.sources) == {"sncp", "history"}
    assert found.point.sources["sncp"].files == 1
    assert report.whole


def test_what_is_not_due_is_carried_over_with_its_former_cut_time(deployment, tmp_path) -> None:
    first = deployment.back_up()
    (tmp_path / "history" / "two.md").write_text("changed\n")
    second = deployment.back_up("sncp")
    assert cut_at(second, "history") == cut_at(first, "history")
    assert second.point.sources["history"].carried
    assert cut_at(second, "sncp") > cut_at(first, "sncp")
    repository = deployment.open()
    found = choose_point(list_points(repository))
    node = repository.find_node(found.listed.snapshot, "/history")
    restore_tree(repository, node, tmp_path / "out", deployment.events.append)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["one.md"]


def test_an_unreadable_source_keeps_its_former_tree_and_is_named(deployment) -> None:
    first = deployment.back_up()
    deployment.sources["sncp"].readable = False
    second = deployment.back_up()
    part = second.point.sources["sncp"]
    assert (part.carried, part.error, part.cut_at) == (True, "sncp is away", cut_at(first, "sncp"))
    assert not second.whole
    assert second.point.complete


def test_a_source_that_was_never_cut_leaves_the_point_incomplete(deployment) -> None:
    deployment.sources["sncp"].readable = False
    report = deployment.back_up()
    assert set(report.point.sources) == {"history"}
    assert not report.point.complete
    assert not report.whole


def test_S2_a_point_in_too_few_stores_is_a_failed_backup(deployment) -> None:
    deployment.back_up()
    deployment.stores[1].down = deployment.stores[2].down = True
    with pytest.raises(TooFewCopies):
        deployment.back_up()


def test_a_store_that_is_down_lags_and_is_caught_up_by_the_next_backup(deployment) -> None:
    deployment.stores[2].down = True
    report = deployment.back_up()
    assert [r.store for r in report.write.stores if not r.complete] == ["b2"]
    deployment.stores[2].down = False
    deployment.back_up()
    for found in list_points(deployment.open()):
        assert found.listed.stores == {"gcs", "s3", "b2"}


def test_R2_the_epoch_of_the_role_record_is_in_the_point(deployment) -> None:
    lease = deployment.arbiter.acquire("assistant", "a run", ttl_s=60)
    role = RoleRecord("assistant", 4, "coreweave", None, deployment.clock.now(), "run")
    deployment.arbiter.record_role(lease, role)
    assert deployment.back_up().point.epoch == 4


def test_R1_with_the_arbiter_away_the_backup_goes_on_and_says_so(deployment) -> None:
    deployment.arbiter.place.down = True
    assert deployment.back_up().point.epoch == 0
    (found,) = list_points(deployment.open())
    assert "role-unconfirmed" in found.listed.snapshot.tags
    assert any(
        isinstance(event, Note) and event.subject == "arbiter" for event in deployment.events
    )


def test_R1_a_point_that_is_cut_meanwhile_is_of_the_epoch_that_was_read_last(deployment) -> None:
    lease = deployment.arbiter.acquire("assistant", "a run", ttl_s=60)
    role = RoleRecord("assistant", 4, "coreweave", None, deployment.clock.now(), "run")
    deployment.arbiter.record_role(lease, role)
    deployment.back_up()
    deployment.arbiter.place.down = True
    assert deployment.back_up().point.epoch == 4
    # It is choosable then, once the arbiter is back.
    assert all(choosable(found, role) for found in list_points(deployment.open()))


def test_S14_a_point_of_an_older_epoch_is_choosable_only_if_it_was_listed_then(deployment) -> None:
    listed = deployment.back_up()
    late = deployment.back_up()
    role = RoleRecord(
        "assistant", 1, "x", None, deployment.clock.now(), None, (listed.write.snapshot_id,)
    )
    points = list_points(deployment.open())
    assert [choosable(found, role) for found in points] == [True, False]
    assert choose_point(points, role=role).id == listed.write.snapshot_id
    assert choose_point(points).id == late.write.snapshot_id


def test_the_status_is_read_from_the_stores(deployment) -> None:
    report = deployment.back_up()
    deployment.clock.advance(1800)
    repository = deployment.open()
    proof = proof_content(
        "r1", report.write.snapshot_id, service="assistant", at=deployment.clock.now()
    )
    sealed = repository.key.seal(proof)
    deployment.stores[0].put(proof_name("r1"), sealed, size_bytes=len(sealed))
    deployment.clock.advance(60)
    limits = {"sncp": 3600.0, "history": 600.0}
    status = status_of(repository, list_points(repository), limits, deployment.clock.now())
    rows = {(row.source, row.store): row for row in status.sources}
    assert 1860 <= rows["sncp", "gcs"].lost_s < 1862  # locks settle on the same clock
    assert not rows["sncp", "b2"].broken
    assert rows["history", "b2"].broken
    assert status.rpo_broken
    assert status.proof_age_s == {"gcs": 60, "s3": None, "b2": None}


def test_what_a_backup_beside_it_cut_meanwhile_is_carried_on_by_the_next_one(
    deployment, tmp_path
) -> None:
    deployment.back_up()
    beside = []

    def cut_slowly(spool: Path, emit) -> Cut:
        if not beside:
            (tmp_path / "history" / "two.md").write_text("kept by the other one\n")
            beside.append(deployment.back_up("history"))
            deployment.clock.advance(600)
        return Cut(deployment.sources["sncp"].root, deployment.clock.now(), facts={})

    deployment.sources["sncp"].cut = cut_slowly
    late = deployment.back_up("sncp")
    newest = max(list_points(deployment.open()), key=lambda found: found.point.created_at)
    assert newest.id == late.write.snapshot_id
    assert cut_at(late, "history") < cut_at(beside[0], "history")

    after = deployment.back_up("sncp")
    assert after.point.sources["history"].carried
    assert cut_at(after, "history") == cut_at(beside[0], "history")
    repository = deployment.open()
    found = choose_point(list_points(repository))
    node = repository.find_node(found.listed.snapshot, "/history")
    restore_tree(repository, node, tmp_path / "out", deployment.events.append)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"one.md", "two.md"}


def test_T1_a_point_that_is_to_come_is_told_and_nothing_is_carried_from_it(deployment) -> None:
    deployment.clock.advance(400 * 86400)
    ahead = deployment.back_up()
    deployment.clock.advance(-400 * 86400)
    deployment.back_up()
    deployment.events.clear()
    last = deployment.back_up("sncp")
    assert cut_at(last, "history") < cut_at(ahead, "history")
    told = [event.text for event in deployment.events if isinstance(event, Note)]
    assert [text for text in told if ahead.write.snapshot_id[:8] in text and "drkit forget" in text]
    status = status_of(
        deployment.open(),
        list_points(deployment.open()),
        {"history": 60.0},
        deployment.clock.now(),
    )
    assert status.rpo_broken == ("history",), "a cut that is to come hides nothing"


def test_T1_a_proof_that_is_to_come_proves_nothing(deployment) -> None:
    report = deployment.back_up()
    repository = deployment.open()
    for run, days in (("r1", -3), ("r2", 400)):
        at = deployment.clock.now() + timedelta(days=days)
        proof = proof_content(run, report.write.snapshot_id, service="assistant", at=at)
        sealed = repository.key.seal(proof)
        deployment.stores[0].put(proof_name(run), sealed, size_bytes=len(sealed))
    status = status_of(repository, list_points(repository), {}, deployment.clock.now())
    assert status.proof_age_s["gcs"] == 3 * 86400


def test_S14_nothing_is_carried_from_what_a_fenced_side_wrote_alone(deployment, tmp_path) -> None:
    first = deployment.back_up()
    listed = tuple(found.id for found in list_points(deployment.open()))
    (tmp_path / "history" / "two.md").write_text("of the fenced side\n")
    late = deployment.back_up()
    role = RoleRecord("assistant", 1, "target", "http://t", deployment.clock.now(), "r", listed)
    lease = deployment.arbiter.acquire("assistant", "me", ttl_s=30)
    deployment.arbiter.record_role(lease, role)
    after = deployment.back_up("sncp")
    assert cut_at(after, "history") == cut_at(first, "history") != cut_at(late, "history")


def test_S3_what_is_carried_over_and_in_no_store_any_more_is_named(deployment) -> None:
    deployment.back_up()
    assert deployment.back_up("sncp").whole
    repository = deployment.open()
    newest = repository.snapshots()[-1].snapshot
    (blob,) = repository.find_node(newest, "/history/one.md").content
    pack = repository.index.find(blob).pack_id
    for store in deployment.stores:
        del store.objects[pack_name(pack)]
    report = deployment.back_up("sncp")
    assert not report.whole
    assert "in no store" in report.point.sources["history"].error
    assert INCOMPLETE_TAG in deployment.open().snapshots()[-1].snapshot.tags
    assert report.point.sources["sncp"].error is None
    assert deployment.back_up().whole, "what the source still has is stored anew"
