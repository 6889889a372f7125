"""Alerts in PostgreSQL: the same tests as on SQLite, and two machines at once."""

import importlib.util
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ALERTS = Path(__file__).resolve().parents[2] / "unit" / "operations" / "alerts" / "test_alerts.py"


def _module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("alerts_on_sqlite", ALERTS)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


_ALERTS = _module()
found = {
    name: each
    for name, each in vars(_ALERTS).items()
    if name.startswith("test_") and "bounded" not in name  # hundreds of rounds show no more here
}
globals().update(found)


@pytest.fixture
def scene(postgres_url: str) -> Any:
    return _ALERTS.Scene(postgres_url)


def test_of_rounds_that_come_at_the_same_moment_one_raises_it(scene: Any) -> None:
    measures = {"down": _ALERTS.Value(1.0, 1)}
    together = threading.Barrier(4)
    changes: list[Any] = []

    def judge() -> None:
        together.wait()
        changes.extend(scene.book().judge((_ALERTS.DOWN,), measures, scene.told))

    threads = [threading.Thread(target=judge) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert [each.state for each in changes] == ["raised"]
