"""Text from outside, made safe for a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    """`text` with control characters, escapes and broken encoding shown, not obeyed."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char == "\n" else char.encode("unicode_escape").decode()
        for char in text
    )
