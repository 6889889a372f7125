"""A process that works on stores in forks, and kills them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from killing import Killer, asked


@pytest.fixture(scope="module")
def killer() -> Iterator[Killer]:
    with asked("store_killer.py") as ask:
        yield Killer(ask)
