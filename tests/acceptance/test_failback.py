"""The service goes away and comes home again, with its data; and all users leave at one command."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Copied, Deployment

API, MODEL = "claude-sonnet-4-5", "Qwen3-4B"


def call(url: str, method: str = "GET", body: Any = None) -> Any:
    request = urllib.request.Request(
        url,
        None if body is None else json.dumps(body).encode(),
        {"content-type": "application/json"},
        method=method,
    )
    with urllib.request.urlopen(request, timeout=20) as reply:
        return json.load(reply)["result"]


class Away:
    """Failed over with everything lost, written to there, brought home, then sent away at once."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        book = deployment.folder / "runbooks" / "primary-gpu-down.yaml"
        text = book.read_text().replace("lost: [lambda]", "lost: [lambda, vm, qdrant-cloud]")
        (book.parent / "all-lost.yaml").write_text(
            text.replace("name: primary-gpu-down", "name: all-lost")
        )
        self.primary = self.names()
        deployment.done("sandbox", "kill", "lambda")
        deployment.done("failover", "--to", "coreweave", "--runbook", "all-lost", "--yes")
        self.target = self.names()
        self.write()
        deployment.done("sandbox", "revive", "lambda")
        with deployment.watched() as self.seen:
            self.said = deployment.done("failback")
        self.run, self.entries = deployment.show()

    def names(self) -> dict[str, str | None]:
        return {"dns": self.deployment.address(), "gateway": self.deployment.gateway()["url"]}

    def write(self) -> None:
        """What the assistant does while it lives at the target."""
        (tree,) = self.deployment.sandbox.glob("runs/failover-*/restore/sncp")
        (tree / "written-away.md").write_text("remember this\n")
        (tree / "identity.md").write_text("# Who I am\n\nCurious, and back again.\n")
        vector = [0.5] * 64
        body = {"points": [{"id": 4711, "vector": vector, "payload": {"topic": "away"}}]}
        url = f"http://127.0.0.1:{self.deployment.port('qdrant_restore')}"
        call(f"{url}/collections/memories-v1/points?wait=true", "PUT", body)

    @property
    def role(self) -> dict[str, Any]:
        (path,) = (self.deployment.sandbox / "stores" / "gcs" / "arbiter").glob(
            "service-assistant.json"
        )
        role: dict[str, Any] = json.loads(path.read_bytes())["role"]
        return role

    def done(self, step: str) -> dict[str, Any]:
        (entry,) = [e for e in self.entries if (e["step"], e["kind"]) == (step, "done")]
        return entry


@pytest.fixture(scope="module")
def away(copied: Copied, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Away]:
    with copied(tmp_path_factory.mktemp("away") / "deployment") as deployment:
        deployment.done("sandbox", "up")
        deployment.done("backup")
        yield Away(deployment)


def test_names_lead_home_only_after_home_was_verified(away: Away) -> None:
    assert (away.run["kind"], away.run["outcome"]) == ("failback", "committed")
    verified_at = datetime.fromisoformat(away.done("verify")["at"]).timestamp()
    for name in ("dns", "gateway"):
        values = [value for _, which, value in away.seen if which == name]
        early = [value for at, which, value in away.seen if which == name and at <= verified_at]
        assert len(early) > 10
        assert set(early) == {away.target[name]}
        assert list(dict.fromkeys(values)) == [away.target[name], away.primary[name]]


def test_the_proofs_of_home_are_of_answers_vectors_and_every_file(away: Away) -> None:
    proofs = away.done("verify")["payload"]["proofs"]
    assert all(proof["passed"] for proof in proofs)
    assert {proof["check"] for proof in proofs} == {
        *("answers", "golden logprobs", "tree digests"),
        *("qdrant count", "qdrant aliases", "qdrant queries"),
    }
    assert {proof["subject"] for proof in proofs if proof["check"] == "tree digests"} == {
        "sncp",
        "history",
    }


def test_what_was_written_away_is_at_home_and_what_was_there_is_kept(away: Away) -> None:
    sources = away.deployment.sandbox / "sources"
    assert (sources / "sncp" / "written-away.md").read_text() == "remember this\n"
    assert "back again" in (sources / "sncp" / "identity.md").read_text()
    (kept,) = sources.glob("sncp.before-*")
    assert "precise" in (kept / "identity.md").read_text()
    assert not (kept / "written-away.md").exists()
    assert not list(sources.glob("*.drkit-*"))
    written = away.done("divergence")["payload"]["output"]["written"]
    assert written["sncp"]["named"] == ["M /identity.md", "+ /written-away.md"]
    assert written["qdrant"]["named"] == ["memories-v1 4711"]


def test_the_alias_at_home_leads_to_what_came_home_and_the_former_is_kept(away: Away) -> None:
    url = f"http://127.0.0.1:{away.deployment.port('qdrant')}"
    (alias,) = call(f"{url}/aliases")["aliases"]
    assert alias["alias_name"] == "memories"
    assert alias["collection_name"].startswith("memories-v1-")
    count = {"exact": True}
    counted = {
        name: call(f"{url}/collections/{name}/points/count", "POST", count)["count"]
        for name in ("memories-v1", alias["collection_name"])
    }
    assert [*counted.values()] == [1000, 1001]
    restore = f"http://127.0.0.1:{away.deployment.port('qdrant_restore')}"
    assert call(f"{restore}/collections")["collections"] == []


def test_the_machine_was_given_back_last_and_users_are_at_home(away: Away) -> None:
    assert away.deployment.instances("coreweave") == []
    steps = [entry["step"] for entry in away.entries if entry["kind"] == "done"]
    assert steps[-2:] == ["commit", "release"]
    assert away.role["site"] == "lambda"
    assert away.role["epoch"] == 2
    assert away.deployment.ask_as_a_user() == (200, MODEL)


def test_there_is_no_way_home_from_home(away: Away) -> None:
    code, said = away.deployment.run("failback", "--sandbox")
    assert code == 24
    assert "is at home" in said


def test_all_users_leave_at_one_command_and_come_back_by_another(away: Away) -> None:
    deployment = away.deployment
    epoch = away.role["epoch"]
    said = deployment.done("runbook", "run", "emergency-rollback")
    assert "users were on the external API" in said
    assert deployment.ask_as_a_user() == (200, API)
    assert not deployment.gateway()["enabled"]
    assert (away.role["site"], away.role["endpoint_url"]) == ("external API", None)
    assert away.role["epoch"] == epoch + 1
    assert "lambda" in deployment.done("probe")
    deployment.done("failback")
    assert deployment.ask_as_a_user() == (200, MODEL)
    assert (away.role["site"], away.role["epoch"]) == ("lambda", epoch + 2)
    assert away.names() == away.primary


def test_the_shipped_runbooks_are_right(drkit: Any) -> None:
    done = drkit("runbook", "check", "--json")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    runbooks = [row for row in rows if row["message_type"] == "runbook"]
    assert [row["name"] for row in runbooks] == [
        "emergency-rollback",
        "failback",
        "primary-gpu-down",
        "switch-to-standby",
    ]
    assert not any(row["refused"] for row in runbooks)
    assert all(row["slack_min"] >= 0 for row in runbooks)


def test_a_runbook_that_is_wrong_is_refused_and_so_is_its_deployment(
    drkit: Any, tmp_path: Path
) -> None:
    project = Path(__file__).parents[2]
    (tmp_path / "schedules.yaml").write_text((project / "schedules.yaml").read_text())
    (tmp_path / "runbooks").mkdir()
    text = (project / "runbooks" / "primary-gpu-down.yaml").read_text()
    wrong = text.replace("needs: [verify, hold]", "needs: [verify]")
    (tmp_path / "runbooks" / "primary-gpu-down.yaml").write_text(wrong)
    done = drkit("config", "validate", cwd=tmp_path)
    assert done.returncode == 2
    assert "REFUSED: runbooks/primary-gpu-down.yaml:" in done.stdout
    assert "steps[8].needs" in done.stdout


def test_a_plan_shows_price_minutes_and_each_step_by_hand_and_no_secret(drkit: Any) -> None:
    words = ("runbook", "plan", "primary-gpu-down", "--to", "runpod", "--json")
    done = drkit(*words, VLLM_API_KEY="planted-key")
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert "planted-key" not in done.stdout
    assert plan["usd_per_run"] == 10
    assert plan["slack_min"] >= 0
    assert all(step["by_hand"] for step in plan["steps"])
