"""Brings cut collections back into a server that lacks them, and drops what was so made."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from drkit.errors import DamagedData, GuardRefused
from drkit.events import Emit, Progress
from drkit.sources.qdrant_rest import QdrantRest


def restore_qdrant(
    folder: Path, url: str, api_key: str | None, *, names: Mapping[str, str], emit: Emit
) -> None:
    """Restores each collection of `names` (recorded name -> name at `url`), then its aliases.

    Raises `GuardRefused`, before anything is made, when one of them is there already (R7).
    """
    rest = QdrantRest(url, api_key)
    present = set(rest.collections())
    if there := sorted(present & set(names.values())):
        raise GuardRefused(
            f"{url} holds {', '.join(there)} already",
            hint="restore into an empty Qdrant; nothing was overwritten",
        )
    for done, (recorded, name) in enumerate(names.items()):
        emit(Progress("restore qdrant", done, len(names), "steps", name))
        place = folder / recorded
        try:
            description = json.loads((place / "collection.json").read_bytes())
            params = description["config"]["params"]
        except (OSError, ValueError, KeyError) as error:
            raise DamagedData(
                f"{place}/collection.json cannot be read: {error}", hint="drkit points"
            ) from None
        rest.ask("PUT", f"/collections/{name}", params)
        for snapshot in sorted(place.glob("shard-*.snapshot")):
            rest.upload_shard(name, int(snapshot.stem.removeprefix("shard-")), snapshot)
        actions = [
            {"create_alias": {"collection_name": name, "alias_name": alias}}
            for alias in description["aliases"]
        ]
        if actions:
            rest.ask("POST", "/collections/aliases", {"actions": actions})


def drop_restored(url: str, api_key: str | None, *, names: Sequence[str]) -> None:
    """Drops collections that a run made; one that is not there is no error."""
    rest = QdrantRest(url, api_key)
    present = set(rest.collections())
    for name in names:
        if name in present:
            rest.ask("DELETE", f"/collections/{name}")
