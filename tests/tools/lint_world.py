"""Runbooks and deployments with one thing changed, and what lints say of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from drkit.config.load import load_config
from drkit.config.models import Config
from drkit.runs.actions.catalog import ACTIONS
from drkit.runs.book.schema import Runbook, load_runbook
from drkit.runs.lints.check import check_runbook
from drkit.runs.lints.values import Finding, Known

ROOT = Path(__file__).parents[2]


PARTS = (
    *("stores.gcs", "stores.s3", "stores.b2", "repository", "service", "arbiter"),
    *("targets.coreweave", "switch.dns", "switch.gateway"),
)


KNOWN = Known(golden=True, used_s=dict.fromkeys(PARTS, 60.0))
WARM = {
    "targets__coreweave__standby": True,
    "targets__coreweave__endpoint": "http://198.51.100.7:8000",
}


RUNPOD = {"kind": "runpod", "api_key": "env:RUNPOD_API_KEY"}


def changed(config: Config, **changes: Any) -> Config:
    """`config` with values at dotted paths replaced (None: taken out)."""
    values = config.model_dump(mode="json")
    for dotted, value in changes.items():
        *path, last = dotted.split("__")
        place = values
        for part in path:
            place = place[int(part)] if isinstance(place, list) else place[part]
        if value is None:
            place.pop(last)
        else:
            place[last] = value
    return Config.model_validate(values)


def book(tmp_path: Path, change: Callable[[str], str], name: str = "primary-gpu-down") -> Runbook:
    text = (ROOT / "runbooks" / f"{name}.yaml").read_text()
    after = change(text)
    assert after != text
    path = tmp_path / f"{name}.yaml"
    path.write_text(after)
    return load_runbook(path)


def found(runbook: Runbook, config: Config, known: Known = KNOWN) -> list[Finding]:
    return [f for f in check_runbook(runbook, config, ACTIONS, known) if f.level != "note"]


def only(findings: list[Finding], lint: str, level: str = "refuse") -> Finding:
    assert [(each.lint, each.level) for each in findings] == [(lint, level)], findings
    assert findings[0].text
    assert findings[0].instead
    return findings[0]


def swap(old: str, new: str) -> Callable[[str], str]:
    return lambda text: text.replace(old, new)


def quiet_deployment() -> Config:
    """The shipped deployment with one target, whose lints have nothing to say."""
    shipped = load_config(ROOT / "schedules.yaml")
    values = shipped.model_dump(mode="json")
    values["targets"] = {"coreweave": values["targets"]["coreweave"]}
    values["switch"]["dns"]["tls"] = "edge"
    return Config.model_validate(values)


def shipped_runbook(name: str = "primary-gpu-down") -> Runbook:
    return load_runbook(ROOT / "runbooks" / f"{name}.yaml")
