"""The run world's common ground, made once."""

from __future__ import annotations

import pytest
from run_stack import Stack


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Stack:
    return Stack(tmp_path_factory.mktemp("stack"))
