"""The deployment's arbiter, seen comparing before anything leans on it."""

from __future__ import annotations

from drkit.coordination import catalog
from drkit.coordination.interface import ArbiterProof
from drkit.wiring.app import App


def leans_on_arbiter(app: App) -> bool:
    """Whether somebody may have to be told apart: a backup of files alone asks nobody."""
    return app.config.service is not None or app.config.arbiter is not None


def prove_arbiter(app: App) -> ArbiterProof:
    """Sees the arbiter compare before it writes, and keeps that on this machine (R1)."""
    config = app.config
    return catalog.prove_arbiter(
        config.arbiter, config.stores, app.state_dir, app.secrets, app.clock
    )


def refuse_skewed_clock(app: App) -> None:
    """Raises `ClockSkewed` before anything is opened in a clock's name that is wrong (T1)."""
    catalog.refuse_skew(app.arbiter)


def kept_proof(app: App) -> ArbiterProof | None:
    """What this machine has seen of the configured arbiter; None: nothing yet."""
    return catalog.kept_proof(app.config.arbiter, app.config.stores, app.state_dir)


def arbiter_name(app: App) -> str:
    """Which place it is, for people."""
    return catalog.configured_name(app.config.arbiter, app.config.stores, app.state_dir)
