"""The primary is lost and the service comes up elsewhere: killed, resumed, and never believed."""

from __future__ import annotations

import shutil
import subprocess
from datetime import datetime
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Deployment

FAILOVER = ("failover", "--to", "coreweave", "--sandbox", "--yes")


@pytest.fixture
def bereft(deployment: Deployment) -> Deployment:
    """Up, and its primary killed."""
    deployment.done("sandbox", "up")
    deployment.done("sandbox", "kill", "lambda")
    return deployment


def entries_of(entries: list[dict], step: str, kind: str) -> list[dict]:
    return [entry for entry in entries if (entry["step"], entry["kind"]) == (step, kind)]


def test_names_lead_to_the_target_only_after_it_was_verified(bereft: Deployment) -> None:
    before = {"dns": bereft.address(), "gateway": bereft.gateway()["url"]}
    with bereft.watched() as seen:
        code, out = bereft.run(*FAILOVER)
    assert code == 0, out
    run, entries = bereft.show()
    assert run["outcome"] == "committed"
    (instance,) = bereft.instances("coreweave")
    (verified,) = entries_of(entries, "verify", "done")
    verified_at = datetime.fromisoformat(verified["at"]).timestamp()
    after = {"dns": bereft.address(), "gateway": bereft.gateway()["url"]}
    for name in ("dns", "gateway"):
        values = [value for _, which, value in seen if which == name]
        early = [value for at, which, value in seen if which == name and at <= verified_at]
        assert len(early) > 10
        assert set(early) == {before[name]}
        assert list(dict.fromkeys(values)) == [before[name], after[name]]
    assert after["dns"] in after["gateway"]
    assert bereft.gateway()["enabled"]
    assert bereft.ask_as_a_user() == (200, "Qwen3-4B")
    assert instance.name in bereft.done("sandbox", "status")


def test_a_careless_check_is_content_with_a_dead_primary_and_a_probe_is_not(
    bereft: Deployment,
) -> None:
    assert bereft.ask_as_a_user() == (200, "claude-sonnet-4-5")
    code, out = bereft.run("probe", "--sandbox")
    assert code == 20
    assert "lambda at http://127.0.0." in out
    assert "NOT alive" in out


def test_a_target_that_died_behind_a_gateway_that_answers_is_not_committed_to(
    bereft: Deployment,
) -> None:
    command = bereft.start(*FAILOVER, DRKIT_BREAK="verify_public:before-intent:stop")
    run_pid = bereft.stopped_run(command)
    assert bereft.ask_as_a_user() == (200, "Qwen3-4B")
    bereft.done("sandbox", "kill", "coreweave")
    assert bereft.ask_as_a_user() == (200, "claude-sonnet-4-5")
    code, out = bereft.go_on(run_pid, command)
    assert code == 22, out
    run, entries = bereft.show()
    assert run["outcome"] == "rolled back"
    failed = entries_of(entries, "verify_public", "failed")
    assert "answers, not Qwen3-4B" in failed[-1]["payload"]["error"]
    assert not entries_of(entries, "verify_public", "done")
    assert not entries_of(entries, "commit", "intent")
    assert bereft.instances("coreweave") == []
    assert bereft.address() is None
    assert not bereft.gateway()["enabled"]
    assert bereft.ask_as_a_user() == (200, "claude-sonnet-4-5")


@pytest.mark.parametrize(
    "where", ["acquire:after-intent", "acquire:after-effect", "cutover:before-intent"]
)
def test_a_run_that_was_killed_is_resumed_to_one_verified_target(
    bereft: Deployment, where: str
) -> None:
    code, out = bereft.run(*FAILOVER, DRKIT_BREAK=f"{where}:kill")
    assert code == 25, out
    killed, _ = bereft.show()
    bereft.done("runs", "resume")
    resumed, entries = bereft.show()
    assert resumed["plan_checksum"] == killed["plan_checksum"]
    assert resumed["outcome"] == "committed"
    assert len(bereft.instances("coreweave")) == 1
    assert entries_of(entries, "verify", "done")


def test_with_two_stores_gone_the_third_gives_everything_back(deployment: Deployment) -> None:
    for name in ("s3", "b2"):
        shutil.rmtree(deployment.sandbox / "stores" / name)
    deployment.done("restore", "--target", "out", "--verify")
    for name in ("sncp", "history", "weights"):
        source, restored = deployment.sandbox / "sources" / name, deployment.folder / "out" / name
        difference = ["diff", "-r", "--no-dereference", source, restored]
        assert subprocess.run(difference).returncode == 0
