"""The arbiter is away when the service has to move: it moves only when somebody types it (R1)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from terminal import on_a_terminal

if TYPE_CHECKING:
    from conftest import Deployment

FAILOVER = ("failover", "--to", "coreweave", "--sandbox", "--yes")
BREAK_GLASS = (*FAILOVER, "--break-glass")


def arbiter_of(deployment: Deployment) -> Path:
    return deployment.sandbox / "stores" / "gcs" / "arbiter"


@contextmanager
def without_arbiter(deployment: Deployment) -> Iterator[None]:
    """Where its folder was lies something that is none."""
    folder = arbiter_of(deployment)
    aside = folder.with_name("arbiter-aside")
    if folder.exists():
        folder.rename(aside)
    folder.write_text("the disk is broken")
    yield
    folder.unlink()
    if aside.exists():
        aside.rename(folder)


def nothing_was_done(deployment: Deployment) -> bool:
    runs = [row for row in deployment.rows("runs", "list") if row["message_type"] == "run"]
    return not runs and not deployment.instances("coreweave")


def test_R1_without_the_arbiter_only_what_is_typed_is_done_and_it_is_told_later(
    bereft: Deployment,
) -> None:
    names_before = (bereft.address(), bereft.gateway()["url"])
    with without_arbiter(bereft):
        code, out = bereft.run(*FAILOVER)
        assert (code, "without the arbiter nothing is bought" in out) == (20, True), out
        code, out = bereft.run(*BREAK_GLASS)
        assert (code, "typed by a person; nothing was done" in out) == (25, True), out
        code, out = on_a_terminal(BREAK_GLASS, ["assistent"], cwd=bereft.folder)
        assert (code, "that is not its name; nothing was done" in out) == (25, True), out
        assert nothing_was_done(bereft)
        assert (bereft.address(), bereft.gateway()["url"]) == names_before

        code, out = on_a_terminal(BREAK_GLASS, ["assistant"], cwd=bereft.folder)
        assert code == 0, out
        run, entries = bereft.show()
        assert (run["state"], run["outcome"]) == ("COMMITTED", "committed")
        notes = [entry["payload"] for entry in entries if entry["kind"] == "note"]
        assert any("break_glass" in note for note in notes)
        assert any(note.get("outwaited") for note in notes)  # as after a takeover (T3)
        assert len(bereft.instances("coreweave")) == 1
        assert bereft.ask_as_a_user() == (200, "Qwen3-4B")
    assert not list(arbiter_of(bereft).glob("service-assistant.json"))

    told = bereft.done("runs", "resume")
    assert f"the arbiter knows now that coreweave serves, epoch 1, by {run['id']}" in told
    role = json.loads((arbiter_of(bereft) / "service-assistant.json").read_bytes())["role"]
    assert (role["epoch"], role["site"], role["run_id"]) == (1, "coreweave", run["id"])
    assert role["endpoint_url"] == bereft.gateway()["url"]
    code, out = bereft.run(*BREAK_GLASS)
    assert (code, "the arbiter answers" in out) == (24, True), out
