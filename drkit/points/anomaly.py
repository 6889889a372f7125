"""Does a source look as if it met an accident or an attacker? Pure: what was, what is, a limit."""

from __future__ import annotations

from drkit.points.point import SourcePart

_FEWEST_FILES = 10
_FEWEST_BYTES = 64 << 10


def dense_share(
    before: SourcePart | None, *, size_bytes: int, new_bytes: int, dense_bytes: int
) -> float | None:
    """The share of a source that does not shrink (0 to 1), or None where it is not known.

    `dense_bytes` of the `new_bytes` that were stored anew were measured; the rest is taken to be
    as it was `before`.
    """
    known = before.dense_share if before else None
    if not size_bytes or (known is None and 2 * new_bytes < size_bytes):
        return known
    if known is None:
        return round(min(dense_bytes / new_bytes, 1.0), 3)
    old_bytes = max(size_bytes - new_bytes, 0)
    return round(min((dense_bytes + known * old_bytes) / max(size_bytes, new_bytes), 1.0), 3)


def anomalies(before: SourcePart, now: SourcePart, percent: float) -> tuple[str, ...]:
    """What fell, or turned incompressible, by more than `percent`; in words, mostly nothing.

    Sources of a handful of files are only told when nothing is left of them.
    """
    found = []
    if _fell(before.files, now.files, percent, _FEWEST_FILES):
        found.append(f"{before.files} files became {now.files}")
    if _fell(before.bytes, now.bytes, percent, _FEWEST_BYTES):
        found.append(f"{before.bytes} bytes became {now.bytes}")
    if before.dense_share is not None and now.dense_share is not None:
        rise = 100 * (now.dense_share - before.dense_share)
        if rise > percent and now.bytes >= _FEWEST_BYTES:
            found.append(
                f"{now.dense_share:.0%} of it cannot be compressed, {before.dense_share:.0%} before"
            )
    return tuple(found)


def _fell(before: int, now: int, percent: float, fewest: int) -> bool:
    if before < fewest:
        return before > 0 and now == 0
    return before - now > before * percent / 100
