"""How often a scheduled check has read every byte: of the repository, and of mirrored weights."""

from collections.abc import Sequence

from pydantic import Field

from drkit.config.fields import Seconds, Strict


class Checks(Strict):
    """Every pack, and every file of mirrored weights, is read and hashed once within these times;
    the structure, and the listing of each mirror, at each check.
    """

    read_all_within: Seconds = Field(
        "30d",
        validate_default=True,
        description="In the store that is cheapest to read from; weights: of those that mirror it.",
    )
    elsewhere_within: Seconds | None = Field(
        "180d", validate_default=True, description="In every other store; null: never."
    )

    def days(self, cheapest: Sequence[str]) -> dict[str, int]:
        """In how many days each store is read once; one that is never read is left out.

        `cheapest`: the names of all stores that hold it, the one that is cheapest to read from
        first.
        """
        within = dict.fromkeys(cheapest[:1], self.read_all_within)
        if self.elsewhere_within is not None:
            within |= dict.fromkeys(cheapest[1:], self.elsewhere_within)
        return {name: max(1, round(seconds / 86400)) for name, seconds in within.items()}
