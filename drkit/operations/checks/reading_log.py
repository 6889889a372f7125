"""What was read back when, by store: a file that may be deleted at any time; the turns go on."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path

import orjson

from drkit.repository.check.read_turns import ReadLog
from drkit.stores.durable import write_file

_PACKS = "check/reads.json"
_WEIGHTS = "check/weights"


def packs_log(state_dir: Path) -> Path:
    """The file for the repository's packs."""
    return state_dir / _PACKS


def weights_log(state_dir: Path, source: str) -> Path:
    """The file for the mirrors of one source of weights."""
    return state_dir / _WEIGHTS / f"{source}.json"


def read_logs(path: Path, *, of: str | None = None) -> dict[str, ReadLog]:
    """What the file remembers, by store; nothing where it is gone, cannot be understood, or is
    about something else than `of` (a digest of what was read).
    """
    try:
        content = orjson.loads(path.read_bytes())
        if of is not None and content["of"] != of:
            return {}
        return {
            name: ReadLog(
                int(entry["of"]),
                date.fromisoformat(entry["since"]),
                {int(turn): date.fromisoformat(day) for turn, day in entry["read"].items()},
            )
            for name, entry in content["stores"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def write_logs(path: Path, logs: Mapping[str, ReadLog], *, of: str = "") -> None:
    stores = {
        name: {
            "of": log.of,
            "since": log.since.isoformat(),
            "read": {str(turn): day.isoformat() for turn, day in sorted(log.read.items())},
        }
        for name, log in logs.items()
    }
    content = {"drkit": 1, "of": of, "stores": stores}
    write_file(path, orjson.dumps(content, option=orjson.OPT_INDENT_2))
