"""The model of who acts: its folder is on the path, and what a search found is printed."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
