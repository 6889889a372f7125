"""Three empty stores, and a folder to back up; a test file that wants others says so itself."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from drkit.stores.memory import MemoryStore


@pytest.fixture
def three(kit: ModuleType) -> Any:
    return kit.Kit([MemoryStore(name) for name in ("gcs", "s3", "b2")]).init()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "source").mkdir()
    return tmp_path / "source"
