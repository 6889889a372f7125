"""A journal entry in one line."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from drkit.runs.records import JSON, Entry


def entry_words(entry: Entry) -> str:
    """A journal entry's payload in one line."""
    payload = entry.payload
    match entry.kind:
        case "state":
            reason = f": {payload['reason']}" if payload.get("reason") else ""
            return f"{payload.get('to', '')}{reason}"
        case "intent":
            return "about to undo" if payload.get("undo") else f"about to {payload.get('action')}"
        case "done":
            adopted = " (found, not made again)" if payload.get("adopted") else ""
            return f"{payload.get('proof') or 'done'}{adopted}"
        case "failed":
            return str(payload.get("error", ""))
        case "skipped":
            who = f" ({payload['who']})" if payload.get("who") else ""
            return f"{payload.get('reason', '')}{who}"
        case "undone":
            return str(payload.get("proof", ""))
        case "resumed":
            return f"taken up by process {payload.get('pid')}"
        case "replanned":
            anew = ", ".join(str(each) for each in _listed(payload.get("reset")))
            return (
                f"{payload.get('why') or 'planned anew'}; from the beginning: {anew or 'nothing'}"
            )
        case "note":
            return _note_words(payload)


def _listed(value: JSON) -> Sequence[JSON]:
    return value if isinstance(value, list | tuple) else ()


def _note_words(payload: Mapping[str, JSON]) -> str:
    if isinstance(paid := payload.get("paid"), Mapping):
        return " ".join(
            str(paid[key]) for key in ("state", "what", "instance_id") if paid.get(key)
        ).lower()
    for key, prefix in (
        ("effect_unknown", "effect unknown: "),
        ("undo_failed", "could not be undone: "),
        ("text", ""),
    ):
        if payload.get(key):
            return f"{prefix}{payload[key]}"
    return json.dumps(payload, ensure_ascii=False)
