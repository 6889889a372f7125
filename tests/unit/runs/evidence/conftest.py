"""Runs that could have been, and what evidence makes of them."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import ModuleType

import pytest

from drkit.runs.evidence import Evidence, build_evidence


@pytest.fixture(scope="session")
def stories() -> ModuleType:
    name = "evidence_stories"
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name("stories.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def told(stories: ModuleType) -> Callable[[str], Evidence]:
    """The evidence of one of the stories, written two seconds after its last entry."""

    def tell(name: str) -> Evidence:
        run, plan, entries = stories.STORIES[name]()
        now = entries[-1].at + timedelta(seconds=2)
        return build_evidence(run, plan, entries, now=now)

    return tell
