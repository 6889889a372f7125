"""Qdrant's part in restore and verify: collections go to the empty server meant for them.

What is made there is noted before it is made, so that only that is ever dropped (Q3).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from drkit.config.sources import QdrantSource
from drkit.errors import ConfigError, GuardRefused
from drkit.runs.actions.interface import Context, StepCall
from drkit.runs.records import JSON
from drkit.verify.proof import Proof
from drkit.verify.qdrant import verify_qdrant


def restore_vectors(call: StepCall, context: Context, name: str, folder: Path) -> dict[str, JSON]:
    """Restores the collections in `folder`. Raises `ConfigError` if there is no place for them."""
    from drkit.sources.qdrant_restore import restore_qdrant
    from drkit.sources.qdrant_snapshot import COLLECTION

    place = context.restore_qdrant_to(name)
    if place is None:
        raise ConfigError(
            f"there is no Qdrant to restore {name} to",
            hint=f"set sources.{name}.restore_to to an empty server",
        )
    url, api_key = place
    recorded = [json.loads(path.read_bytes()) for path in sorted(folder.glob(f"*/{COLLECTION}"))]
    made: list[JSON] = [str(each["collection"]) for each in recorded]
    _drop(call, context, name)
    call.guard.note(
        {
            "made": {"source": name, "url": url, "collections": made},
            "text": f"makes {', '.join(map(str, made)) or 'no collection'} at {url}",
        }
    )
    call.guard.check()
    restore_qdrant(
        folder,
        url,
        api_key,
        names={},
        emit=context.emit,
        made_for=call.run_id,
        clock=context.clock,
    )
    return {"url": url, "collections": made}


def drop_restored(call: StepCall, context: Context) -> list[str]:
    """Drops every collection that this run made on the servers it restored to; their names."""
    dropped = []
    for name, source in context.config.sources.items():
        if isinstance(source, QdrantSource):
            dropped += _drop(call, context, name)
    return dropped


def _drop(call: StepCall, context: Context, name: str) -> list[str]:
    from drkit.sources.qdrant_restore import drop_restored as drop

    made: dict[str, None] = {}
    for note in call.guard.notes("made"):
        collections = note.get("collections")
        if note.get("source") == name and isinstance(collections, list):
            made |= dict.fromkeys(map(str, collections))
    place = context.restore_qdrant_to(name) if made else None
    if place is None:
        return []
    url, api_key = place
    dropped: list[str] = []
    for collection in made:
        call.guard.check()
        try:
            dropped += drop(url, api_key, names=(collection,), made_for=call.run_id)
        except GuardRefused as error:
            # Noted before it was made, and refused: the one that is there is somebody else's.
            call.guard.note({"text": error.message})
    return dropped


def prove_restored(context: Context, name: str, facts: Mapping[str, Any]) -> Iterator[Proof]:
    """Counts, aliases and recorded queries of the collections where they were restored to."""
    place = context.restore_qdrant_to(name)
    if place is None:
        yield Proof("qdrant", name, False, "there is no server that it was restored to")
        return
    url, api_key = place
    yield from verify_qdrant(facts, url, api_key)
