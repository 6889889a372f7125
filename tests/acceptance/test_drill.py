"""A drill proves the way back and leaves nothing, or fails and says which file is wrong."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from drkit.config.load import load_config
from drkit.events import discard
from drkit.points.find import choose_point, list_points
from drkit.standins.supervisor import Sandbox
from drkit.wiring import App

if TYPE_CHECKING:
    from conftest import Deployment

DRILL_PRIMARY = "127.0.0.11"


def test_a_drill_proves_the_way_back_and_leaves_nothing(fresh: Deployment, tmp_path: Path) -> None:
    watched = [tmp_path / "home", tmp_path / "tmp"]
    for folder in watched:
        folder.mkdir()
    before = files_below(*watched, fresh.folder)
    code, out = fresh.run(
        "run-drill", "--sandbox", HOME=str(watched[0]), TMPDIR=str(watched[1]), PYTHONNOUSERSITE="1"
    )
    assert code == 0, out
    assert fresh.processes() == {}
    written = files_below(*watched, fresh.folder) - before
    assert {path for path in written if not path.is_relative_to(fresh.folder / ".drkit")} == set()
    assert fresh.instances("coreweave") == []
    run, entries = fresh.show()
    evidence = fresh.evidence()
    assert evidence["run_id"] == run["id"]
    ended = {e["step"]: e["at"] for e in entries if e["kind"] == "done"}
    assert {step["id"]: step["ended_at"] for step in evidence["steps"]} == ended
    done = list(ended)
    for earlier, later in (
        ("acquire", "deploy"),
        ("fence", "point"),
        ("point", "restore"),
        ("deploy", "verify"),
        ("restore", "verify"),
        ("verify", "cutover"),
        ("cutover", "verify_public"),
    ):
        assert done.index(earlier) < done.index(later)


def files_below(*folders: Path) -> set[Path]:
    return {path for folder in folders for path in folder.rglob("*")}


def test_without_credentials_a_drill_says_which_and_names_the_sandbox(fresh: Deployment) -> None:
    code, out = fresh.run("run-drill")
    assert code == 2
    assert "$AWS_ACCESS_KEY_ID is not set" in out
    assert "--sandbox" in out
    assert "Traceback" not in out


def damage_a_memory_file(deployment: Deployment) -> str:
    """Flips a bit of the file's only blob in all stores; the file's name below its source."""
    source = deployment.sandbox / "sources" / "sncp"
    name = str(sorted(source.glob("*/*/note-*.md"))[7].relative_to(source))
    config = Sandbox(load_config(deployment.folder / "schedules.yaml"), deployment.sandbox).config
    repository = App(config, deployment.folder, sandbox=True, emit=discard).repository
    found = choose_point(list_points(repository), "latest")
    (blob,) = repository.find_node(found.listed.snapshot, f"/sncp/{name}").content
    place = repository.index.find(blob)
    assert place is not None
    packs = list(deployment.sandbox.glob(f"stores/*/repository/data/*/{place.pack_id}"))
    assert len(packs) == 3
    for pack in packs:
        pack.chmod(0o600)
        flip(pack, place.offset + 20)
    return name


def damage_the_weights(deployment: Deployment) -> str:
    """Flips a bit of a shard in both mirrors; the shard's name."""
    shards = sorted(deployment.sandbox.glob("stores/*/weights/*/*/*-00001-*.safetensors"))
    assert len(shards) == 2
    for shard in shards:
        shard.chmod(0o600)
        flip(shard, 1_000_000)
    return shards[0].name


def flip(path: Path, offset: int) -> None:
    with path.open("r+b") as file:
        byte = os.pread(file.fileno(), 1, offset)[0]
        os.pwrite(file.fileno(), bytes([byte ^ 1]), offset)


@pytest.mark.parametrize("damage", [damage_a_memory_file, damage_the_weights])
def test_what_is_damaged_in_every_store_fails_the_drill_by_its_name_and_moves_none(
    deployment: Deployment, damage: Callable[[Deployment], str]
) -> None:
    name = damage(deployment)
    deployment.done("sandbox", "up")
    with deployment.watched("drill-") as seen:
        code, out = deployment.run("run-drill", "--sandbox")
    assert code == 23, out
    assert name in out
    evidence = deployment.evidence()
    assert evidence["verdict"] == "failed"
    assert name in json.dumps(evidence["steps"])
    assert_no_name_moved(deployment, seen)


def test_a_flipped_bit_of_the_restored_model_fails_the_drill_and_moves_no_name(
    deployment: Deployment,
) -> None:
    deployment.done("sandbox", "up")
    with deployment.watched("drill-") as seen:
        command = deployment.start(
            "run-drill", "--sandbox", DRKIT_BREAK="verify:before-intent:stop"
        )
        run_pid = deployment.stopped_run(command)
        (instance,) = deployment.instances("coreweave")
        shard = sorted((instance / "model").glob("*.safetensors"))[0]
        flip(shard, shard.stat().st_size - 1000)
        code, out = deployment.go_on(run_pid, command)
    assert code == 23, out
    assert shard.name in json.dumps(deployment.evidence())
    assert_no_name_moved(deployment, seen)


def assert_no_name_moved(deployment: Deployment, seen: list) -> None:
    """The drill's names led to the drill's own primary, from its start to after the end."""
    names = {value for _, which, value in seen if which == "dns"}
    urls = {value for _, which, value in seen if which == "gateway"}
    primary = f"http://{DRILL_PRIMARY}:{deployment.port('model')}"
    assert names == {None, DRILL_PRIMARY}
    assert urls == {None, primary}
    assert deployment.address("drill-llm.example.org") == DRILL_PRIMARY
    assert deployment.gateway("drill_gateway")["url"] == primary
    assert deployment.instances("coreweave") == []
    _, entries = deployment.show()
    assert not any(entry["step"] == "cutover" for entry in entries)
