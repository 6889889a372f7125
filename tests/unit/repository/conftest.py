"""The repository kit of tests/tools, as a fixture."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

_KIT = Path(__file__).parents[2] / "tools" / "repository_kit.py"


@pytest.fixture(scope="session")
def kit() -> ModuleType:
    if "repository_kit" not in sys.modules:
        spec = importlib.util.spec_from_file_location("repository_kit", _KIT)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
    return sys.modules["repository_kit"]
