"""Logging set-up: one line per record on standard error, level by -q and -v."""

from __future__ import annotations

import logging


def configure(verbosity: int) -> None:
    """-1: errors, 0: warnings, 1: info, 2: debug; libraries stay at warnings below 3."""
    levels = {-1: logging.ERROR, 0: logging.WARNING, 1: logging.INFO}
    logging.basicConfig(
        format="%(asctime)s %(levelname)-7s %(name)s: %(message)s",
        level=logging.DEBUG if verbosity >= 3 else logging.WARNING,
    )
    logging.getLogger("drkit").setLevel(levels.get(verbosity, logging.DEBUG))
