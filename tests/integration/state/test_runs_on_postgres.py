"""Journals and whole runs on PostgreSQL: the same tests as on SQLite."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

RUNS = Path(__file__).resolve().parents[2] / "unit" / "runs"


def _module(place: str) -> ModuleType:
    file = RUNS / f"{place}.py"
    spec = importlib.util.spec_from_file_location(f"runs_{file.stem}", file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


SUITES = (
    "test_engine",
    "test_ownership",
    "test_drills",
    "journal/test_journal",
    "journal/test_opening",
    "steering/test_local_only",
    "steering/test_takeover",
)
for suite in SUITES:
    found = vars(_module(suite))
    globals().update({name: each for name, each in found.items() if name.startswith("test_")})
_FIXTURES = _module("conftest")
world, there = _FIXTURES.world, _FIXTURES.there
deployment, crash = _FIXTURES.deployment, _FIXTURES.crash


@pytest.fixture
def state(postgres_url: str) -> str:
    return postgres_url
