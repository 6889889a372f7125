"""Durations, sizes and rates, as people write and read them."""

from __future__ import annotations

import re

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_LONGEST_S = 100 * 366 * 86400  # what is added to a date has to stay one
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?[smhdw])+")
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")


def parse_duration(text: str) -> float:
    """Seconds in `text`: "30s", "15m", "1h30m", "30d". ValueError says what is accepted."""
    if not _DURATION.fullmatch(text):
        raise ValueError(f"{text!r} is no duration; write it as 30s, 15m, 1h30m or 30d")
    seconds = sum(float(count) * _SECONDS[unit] for count, unit in _DURATION_PART.findall(text))
    if seconds > _LONGEST_S:
        raise ValueError(f"{text!r} is longer than a hundred years")
    return seconds


def write_duration(seconds: float) -> str:
    """What `parse_duration` reads back exactly: "30s", "15m", "1h30m", "30d"."""
    whole, rest = divmod(seconds, 60)
    text = ""
    for unit, size in (("d", 1440), ("h", 60), ("m", 1)):
        count, whole = divmod(whole, size)
        text += f"{int(count)}{unit}" if count else ""
    return text + (f"{rest:g}s" if rest or not text else "")


def format_duration(seconds: float) -> str:
    """ "0.8 s", "41 s", "12 min 5 s", "3 h 20 min", "3 d 4 h": two units at most."""
    if seconds < 0:
        return f"-{format_duration(-seconds)}"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for name, size, below_name, below in (
        ("d", 86400, "h", 3600),
        ("h", 3600, "min", 60),
        ("min", 60, "s", 1),
    ):
        if whole >= size:
            rest = (whole % size) // below
            return f"{whole // size} {name}" + (f" {rest} {below_name}" if rest else "")
    return f"{whole} s"


_BYTES = re.compile(r"(\d+)([kmgt]?)(?:i?b)?", re.IGNORECASE)


def parse_bytes(text: str) -> int:
    """Bytes in `text`: "512", "64K", "10M", "2G", "1T"; powers of 1024, as restic reads them."""
    match = _BYTES.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no size; write it as 512, 64K, 10M, 2G or 1T")
    return int(match[1]) << 10 * " kmgt".index(match[2].lower() or " ")


def format_bytes(count: float) -> str:
    """ "512 B", "3.4 MiB": binary units, as restic prints them."""
    if count < 1024:
        return f"{count:.0f} B"
    for unit in ("KiB", "MiB", "GiB"):
        count /= 1024
        if count < 1024:
            return f"{count:.1f} {unit}"
    return f"{count / 1024:.1f} TiB"
