"""The model of who acts: its folder is on the path, and what was searched is printed at the end."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """With several workers too: what was searched travels in the reports of its tests."""
    saw = {
        value
        for reports in terminalreporter.stats.values()
        for report in reports
        for name, value in getattr(report, "user_properties", ())
        if name == "searched"
    }
    if saw:
        terminalreporter.section("the model: states, moves, depth", sep="-")
        terminalreporter.write("".join(f"{line}\n" for line in sorted(saw)))
