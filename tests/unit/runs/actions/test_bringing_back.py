"""point, deploy, restore and verify on a real repository in folders: what comes back is proven."""

from __future__ import annotations

import base64
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from kept_sources import MODEL, Tree, configured

from drkit.config.sources import WeightsSource
from drkit.mirror.bootstrap import fetch_by_ticket
from drkit.operations.points.backup import back_up
from drkit.operations.points.cutting import Due
from drkit.repository.format.keys import ScryptCost
from drkit.repository.repository import Repository, init_repository, open_repository
from drkit.runs.records import RunState
from drkit.stores.folder import FolderStore

if TYPE_CHECKING:
    from conftest import World

TARGET = "http://192.0.2.1:8000"


class Stack:
    """The world with something to bring back: two trees and a model, in two stores."""

    def __init__(self, world: World) -> None:
        self.world = world
        folder = world.tmp_path
        self.stores = tuple(FolderStore(name, folder / "stores" / name) for name in ("gcs", "s3"))
        for name in ("sncp", "history"):
            (folder / name / "below").mkdir(parents=True)
            (folder / name / "below" / f"{name}.md").write_text(f"the words of {name}\n" * 50)
        (folder / "model").mkdir()
        (folder / "model" / "model-00001.safetensors").write_bytes(bytes(range(256)) * 64)
        (folder / "model" / "config.json").write_text("{}")
        trees, weights = configured(folder)
        world.config = world.config.model_copy(update={"sources": {**trees, "weights": weights}})
        world.real = tuple(world.fakes)
        world.prober.set(TARGET, MODEL)
        init_repository(
            self.stores, "pw", clock=world.clock, hostname="h", cost=ScryptCost(1024, 8, 1)
        )
        self._machines()
        self.back_up(weights)
        world.clock.advance(300)

    def open(self) -> Repository:
        return open_repository(
            self.stores,
            "pw",
            clock=self.world.clock,
            emit=self.world.events.append,
            hostname="h",
        )

    def back_up(self, weights: WeightsSource) -> None:
        world = self.world
        sources = {
            name: Tree(name, world.tmp_path / name, world.clock) for name in ("sncp", "history")
        }
        back_up(
            self.open(),
            Due(sources, {"weights": weights}, tuple(sources), ("weights",)),
            service="assistant",
            arbiter=world.arbiter,
            stores=self.stores,
            min_copies=2,
            own_files={},
            record_golden=None,
            work_dir=world.tmp_path / "backup",
            clock=world.clock,
            emit=world.events.append,
        )

    def _machines(self) -> None:
        """Each instance fetches its weights by its ticket, once it is asked how it is."""
        compute, clock = self.world.compute, self.world.clock
        create, get = compute.create, compute.get
        tickets: dict[str, tuple[Path, bytes]] = {}

        def created(offer, spec, tags, still):
            instance = create(offer, spec, tags, still)
            key = bytes.fromhex(spec.environment["DRKIT_TICKET_KEY"])
            tickets[instance.id] = (Path(spec.ticket_path), key)
            return instance

        def looked_at(instance_id):
            place = self.model_dir
            ticket, key = tickets[instance_id]
            if ticket.exists() and not place.exists():
                fetch_by_ticket(ticket, place, key, wait_s=1, clock=clock, emit=lambda _event: None)
            return replace(get(instance_id), model_dir=place)

        compute.create, compute.get = created, looked_at

    @property
    def model_dir(self) -> Path:
        return self.world.tmp_path / "machine" / "model"

    def start(self, kind: str, **changes):
        repository = self.open()
        return self.world.start(kind, repository=lambda: repository, stores=self.stores, **changes)

    def failed(self, run_id: str) -> dict:
        (entry,) = [e for e in self.world.journal().entries(run_id) if e.kind == "failed"]
        return {"step": entry.step, **entry.payload}

    def done(self, run_id: str, step: str) -> dict:
        (entry,) = [
            e for e in self.world.journal().entries(run_id) if e.kind == "done" and e.step == step
        ]
        return dict(entry.payload)


@pytest.fixture
def stack(world: World) -> Stack:
    return Stack(world)


def _when(step: str, point: str, do):
    def breakpoint(at_step: str, at_point: str) -> None:
        if (at_step, at_point) == (step, point):
            do()

    return breakpoint


def _traffic_moved_to_target(stack: Stack) -> bool:
    return any(each.value == TARGET for switch in stack.world.switches for each in switch.history)


def test_a_drill_brings_back_every_source_proves_it_and_leaves_nothing(stack: Stack) -> None:
    run = stack.start("drill")
    assert (run.state, run.outcome) == (RunState.DONE, "passed")
    restored = stack.done(run.id, "restore")["output"]["restored"]
    assert set(restored) == {"sncp", "history"}
    proofs = stack.done(run.id, "verify")["proofs"]
    assert {proof["check"] for proof in proofs} == {"answers", "weights SHA-256", "tree digests"}
    assert all(proof["passed"] for proof in proofs)
    assert len([p for p in proofs if p["check"] == "tree digests"]) == 2
    assert not (stack.world.tmp_path / "work" / "restore").exists()
    assert stack.world.compute.find({}) == []
    cut_at = stack.done(run.id, "point")["output"]["point_cut_at"]
    assert run.point_cut_at is not None
    assert run.point_cut_at.isoformat() == cut_at
    assert run.created_at - run.point_cut_at >= timedelta(seconds=300)


def test_a_failover_leaves_in_place_what_was_not_lost(stack: Stack) -> None:
    run = stack.start("failover")
    assert run.state is RunState.COMMITTED
    output = stack.done(run.id, "restore")["output"]
    assert (output["restored"], output["in_place"]) == ({}, ["history", "sncp"]) or set(
        output["in_place"]
    ) == {"sncp", "history"}
    checks = [proof["check"] for proof in stack.done(run.id, "verify")["proofs"]]
    assert checks.count("in place") == 2
    assert stack.world.compute.find({"drkit-run": run.id})


def test_a_failover_brings_back_what_lived_on_the_lost_site(stack: Stack) -> None:
    world = stack.world
    world.runbook = world.runbook.model_copy(update={"lost": ("lambda", "vm")})
    shutil.rmtree(world.tmp_path / "sncp")
    run = stack.start("failover")
    assert run.state is RunState.COMMITTED
    (restored,) = [
        Path(each["into"])
        for name, each in stack.done(run.id, "restore")["output"]["restored"].items()
        if name == "sncp"
    ]
    assert (restored / "below" / "sncp.md").read_text() == "the words of sncp\n" * 50


def test_one_flipped_bit_of_the_model_is_named_and_moves_no_traffic(stack: Stack) -> None:
    def flip() -> None:
        path = stack.model_dir / "model-00001.safetensors"
        content = bytearray(path.read_bytes())
        content[1000] ^= 1
        path.write_bytes(content)

    run = stack.start("drill", breakpoint=_when("verify", "after-intent", flip))
    assert (run.state, run.outcome) == (RunState.DONE, "failed")
    failed = stack.failed(run.id)
    assert (failed["step"], failed["kind"]) == ("verify", "ProofsFailed")
    assert "model-00001.safetensors" in failed["error"]
    wrong = [proof for proof in failed["proofs"] if not proof["passed"]]
    assert [proof["files"] for proof in wrong] == [["model-00001.safetensors"]]
    assert not _traffic_moved_to_target(stack)
    assert stack.world.compute.find({}) == []


def test_one_changed_file_of_a_restored_tree_is_named(stack: Stack) -> None:
    def change() -> None:
        restored = stack.world.tmp_path / "work" / "restore" / "sncp" / "below" / "sncp.md"
        restored.write_text("other words\n")

    run = stack.start("drill", breakpoint=_when("verify", "after-intent", change))
    assert run.outcome == "failed"
    assert "sncp.md" in stack.failed(run.id)["error"]
    assert not _traffic_moved_to_target(stack)


def test_a_blob_that_is_damaged_everywhere_is_named_by_its_file(stack: Stack) -> None:
    repository = stack.open()
    (listed,) = repository.snapshots()
    node = repository.find_node(listed.snapshot, "/sncp/below/sncp.md")
    place = repository.index.find(node.content[0])
    assert place is not None
    for store in ("gcs", "s3"):
        data = stack.world.tmp_path / "stores" / store / "repository" / "data"
        pack = data / place.pack_id[:2] / place.pack_id
        content = bytearray(pack.read_bytes())
        content[place.offset + 20] ^= 1
        pack.chmod(0o600)
        pack.write_bytes(content)
    run = stack.start("drill")
    assert (run.state, run.outcome) == (RunState.DONE, "failed")
    failed = stack.failed(run.id)
    assert (failed["step"], failed["kind"]) == ("restore", "DamagedData")
    assert "below/sncp.md" in failed["error"]
    assert not _traffic_moved_to_target(stack)


def test_a_source_in_place_that_is_gone_fails_the_failover(stack: Stack) -> None:
    shutil.rmtree(stack.world.tmp_path / "history")
    run = stack.start("failover")
    assert run.state is RunState.ROLLED_BACK
    assert "history" in stack.failed(run.id)["error"]


def test_a_server_that_names_another_model_is_no_target(stack: Stack) -> None:
    def swap() -> None:
        stack.world.prober.set(TARGET, "another-model")

    run = stack.start("failover", breakpoint=_when("verify", "before-intent", swap))
    assert run.state is RunState.ROLLED_BACK
    assert not _traffic_moved_to_target(stack)


def test_R7_a_restore_that_is_tried_again_starts_from_an_empty_place(
    stack: Stack, crash: type[BaseException]
) -> None:
    with pytest.raises(crash):
        stack.start("drill", breakpoint=stack.world.crash_at("restore", "after-effect"))
    left = stack.world.tmp_path / "work" / "restore" / "sncp" / "half.md"
    left.write_text("half a file")
    repository = stack.open()
    run = stack.world.resume(
        stack.world.journal().run("latest").id,
        repository=lambda: repository,
        stores=stack.stores,
    )
    assert (run.state, run.outcome) == (RunState.DONE, "passed")


@pytest.mark.parametrize(("tier", "ends"), [("same", "ROLLED_BACK"), ("lower", "COMMITTED")])
def test_a_lower_tier_is_not_compared_with_golden_answers_and_says_so(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, tier: str, ends: str
) -> None:
    from drkit.points.point import GoldenSet
    from drkit.runs.actions import proving
    from drkit.verify.proof import Proof

    world = stack.world
    target = world.config.targets["coreweave"]
    lower = tuple(each.model_copy(update={"tier": tier}) for each in target.candidates)
    targets = {"coreweave": target.model_copy(update={"candidates": lower})}
    world.config = world.config.model_copy(update={"targets": targets})
    golden = GoldenSet(model=MODEL, server_version="1", recorded_at=world.clock.now(), answers=())
    find = proving.find_point

    def with_golden(context, snapshot_id):
        found = find(context, snapshot_id)
        return replace(found, point=found.point.model_copy(update={"golden": golden}))

    wrong = Proof("golden logprobs", MODEL, False, "other answers")
    monkeypatch.setattr(proving, "find_point", with_golden)
    monkeypatch.setattr(proving, "verify_golden", lambda *_args, **_options: wrong)
    run = stack.start("failover")
    assert run.state.value == ends
    said = [str(e.payload.get("text")) for e in world.journal().entries(run.id)]
    assert any("lower tier" in text for text in said) is (tier == "lower")


def test_S14_a_point_of_an_older_epoch_that_was_not_listed_is_not_chosen(stack: Stack) -> None:
    from drkit.coordination.interface import RoleRecord

    world = stack.world
    lease = world.arbiter.acquire("assistant", "here", ttl_s=60)
    record = RoleRecord("assistant", 4, "runpod", None, world.clock.now(), "another", ())
    world.arbiter.record_role(lease, record)
    world.arbiter.release(lease)
    run = stack.start("drill")
    assert run.outcome == "failed"
    assert stack.failed(run.id)["step"] == "point"


def test_K4_the_ticket_on_the_machine_opens_with_its_own_key_only(stack: Stack) -> None:
    from drkit.errors import WrongKey

    run = stack.start("failover")
    (ticket,) = (stack.world.tmp_path / "work" / "tickets").iterdir()
    master = stack.open().key
    for key in (master.encrypt, master.derive(f"run/{run.id}/acquire/ticket-9.9")):
        with pytest.raises(WrongKey):
            fetch_by_ticket(
                ticket,
                stack.world.tmp_path / "stolen",
                key,
                wait_s=1,
                clock=stack.world.clock,
                emit=lambda _event: None,
            )
    assert not (stack.world.tmp_path / "stolen").exists()


def test_K1_no_form_of_the_master_key_reaches_the_machine(stack: Stack) -> None:
    run = stack.start("failover")
    (spec,) = stack.world.compute.created
    (ticket,) = (stack.world.tmp_path / "work" / "tickets").iterdir()
    given = repr(spec).encode() + ticket.read_bytes()
    master = stack.open().key
    parts = map(master.__getattribute__, master.__slots__)
    secrets = [part for part in parts if isinstance(part, bytes)]
    assert master.encrypt in secrets
    for part in secrets:
        for form in (part, part.hex().encode(), base64.b64encode(part).rstrip(b"=")):
            assert form not in given
    own = master.derive(f"run/{run.id}/acquire/ticket-1.0")
    assert own.hex().encode() in given or base64.b64encode(own).rstrip(b"=") in given
