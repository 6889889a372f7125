"""`drkit probe` in the sandbox: it looks at everything, and tells an outage and its end once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

if TYPE_CHECKING:
    from conftest import Deployment

MORE = """
probe:
  known_after: 1
  up_after: 1
  gpu: http://203.0.113.10:9400/metrics
  tls: [llm.example.org]
alerts:
  observers:
    ops: {kind: webhook, url: "https://hooks.example.net/drkit", token: "env:NOT_SET"}
    pager: {kind: command, argv: [/usr/bin/false], least: critical}
  prometheus: drkit.prom
"""


class Watched:
    """A sandbox that is up, and the rounds of its watch."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        config = deployment.folder / "schedules.yaml"
        config.write_text(config.read_text() + MORE)
        deployment.done("sandbox", "up")

    def round(self, *words: str) -> tuple[int, dict[str, list[dict]]]:
        """Exit status, and the lines by their type."""
        code, out = self.deployment.run("probe", "--sandbox", "--json", *words)
        lines: dict[str, list[dict]] = {}
        for line in out.splitlines():
            if line.startswith("{"):
                row = json.loads(line)
                lines.setdefault(row["message_type"], []).append(row)
        return code, lines

    def told(self, observer: str) -> list[tuple[str, str]]:
        log = self.deployment.sandbox / f"alerts-{observer}.log"
        rows = map(json.loads, log.read_text().splitlines())
        return [(row["alert"], row["state"]) for row in rows]


def test_what_lies_around_is_seen_and_an_outage_is_told_once_and_its_end_once(
    deployment: Deployment,
) -> None:
    watched = Watched(deployment)
    watched.round()  # the canary is chosen
    for _ in range(2):
        assert deployment.ask_as_a_user()[0] == 200
    code, lines = watched.round()
    assert code == 0
    probes = {row["probe"]: row["verdict"] for row in lines["probe"]}
    assert probes.pop("tls") == "not measured"
    assert probes.pop("provider lambda") == "not measured"
    assert set(probes.values()) == {"passed"}, lines["probe"]
    assert {"liveness", "identity", "completion", "progress", "gpu", "gateway stats"} <= set(probes)
    assert {"qdrant qdrant", "store gcs", "store s3", "store b2", "tree sncp"} <= set(probes)
    measures = {row["metric"]: row for row in lines["measure"]}
    assert measures["ttft_p95"]["samples"] >= 2
    assert measures["error_rate"]["value"] == 0
    assert measures["fallback_rate"]["samples"] == 2
    assert measures["tls_days"]["value"] is None
    assert "alert" not in lines

    deployment.done("sandbox", "kill", "lambda")
    code, lines = watched.round("--due")
    assert code == 20
    assert [(row["alert"], row["state"]) for row in lines["alert"]] == [("service-down", "raised")]
    ages = {row["probe"]: row["age_s"] for row in lines["probe"]}
    assert ages["store gcs"] > 0, "it was looked at a short while ago"
    _, lines = watched.round("--due")
    assert "alert" not in lines, "it is told once"
    _, out = deployment.run("status", "--sandbox")
    assert "ALERT service-down (critical)" in out

    deployment.done("sandbox", "revive", "lambda")
    code, lines = watched.round("--due")
    assert code == 0
    assert [(row["alert"], row["state"]) for row in lines["alert"]] == [("service-down", "cleared")]
    # nobody beyond this machine was told: a rehearsal's observers are files (R11)
    both = [("service-down", "raised"), ("service-down", "cleared")]
    assert watched.told("ops") == both
    assert watched.told("pager") == both
    audit = [(row["what"], row["subject"]) for row in deployment.rows("audit", "export")]
    assert [each for each in audit if each[0].startswith("alert")] == [
        ("alert raised", "assistant: service-down"),
        ("alert cleared", "assistant: service-down"),
    ]
    text = (deployment.sandbox / "drkit.prom").read_text()
    samples = {
        (sample.name, sample.labels.get("state")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert samples["drkit_service_state", "HEALTHY"] == 1
    assert ("drkit_alert", None) not in samples
