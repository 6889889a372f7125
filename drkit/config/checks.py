"""How often a scheduled check has read every byte of the repository."""

from __future__ import annotations

from pydantic import Field

from drkit.config.fields import Seconds, Strict


class Checks(Strict):
    """Every pack is read and hashed once within these times; the structure at each check."""

    read_all_within: Seconds = Field(
        "30d", validate_default=True, description="In the store that is cheapest to read from."
    )
    elsewhere_within: Seconds | None = Field(
        "180d", validate_default=True, description="In every other store; null: never."
    )
