"""restic's patterns for paths, as regular expressions.

A pattern is compared part by part, `*`, `?` and `[...]` within a part and `**` over any number of
parts. One that starts with `/` begins at the root of the file system, any other one anywhere. What
lies below a match is matched too. `!` takes back what earlier patterns of the same list matched.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from drkit.errors import ConfigError
from drkit.sources.interface import Excludes


class BadPattern(ValueError):
    """A pattern that restic refuses too."""


class Patterns:
    """One list of patterns. Paths are absolute and are tested from the top down: what lies below
    a match is never asked for. Nothing above `below`, and not `below` itself, is a match.
    """

    def __init__(
        self, patterns: Sequence[str], *, below: str, fold_case: bool = False, at: str = ""
    ) -> None:
        """`at`: patterns of a file in this folder; those with `/` at the front begin there."""
        flags = re.IGNORECASE if fold_case else 0
        self._skip = len(below.rstrip("/"))
        self._takes_back = any(pattern.startswith("!") for pattern in patterns)
        if not self._takes_back:
            # a match of a folder above was seen before, so only the last part can be new
            either = "|".join(_translate(pattern, at) for pattern in patterns)
            self._steps = [(True, re.compile(f"(?:{either})" if patterns else r"(?!)", flags))]
            return
        self._steps = [
            (
                not pattern.startswith("!"),
                re.compile(_translate(pattern.removeprefix("!"), at), flags),
            )
            for pattern in patterns
        ]

    def match(self, path: str) -> bool:
        """Whether `path` is left out, `path` being below `below` and absolute."""
        if not self._takes_back:
            return self._steps[0][1].fullmatch(path) is not None
        matched = False
        for adds, pattern in self._steps:
            if matched != adds and self._ends_below(pattern, path):
                matched = adds
        return matched

    def _ends_below(self, pattern: re.Pattern[str], path: str) -> bool:
        """Whether the pattern matches `path` or a folder above it that lies below the root."""
        end = path.find("/", self._skip + 1)
        while end >= 0:
            if pattern.fullmatch(path[:end]):
                return True
            end = path.find("/", end + 1)
        return pattern.fullmatch(path) is not None


def read_patterns(text: str, environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """The patterns of a file: one a line, without blank lines and those that start with `#`;
    `$NAME` and `${NAME}` stand for variables, `$$` for a dollar sign.
    """
    found = []
    for line in text.splitlines():
        stripped = line.strip()
        if stripped and not stripped.startswith("#"):
            found.append(_VARIABLE.sub(lambda m: _value(m, environment), stripped))
    return tuple(found)


_VARIABLE = re.compile(r"\$(?:(\$)|\{(\w+)\}|(\w+))")


def _value(match: re.Match[str], environment: Mapping[str, str]) -> str:
    return "$" if match[1] else environment.get(match[2] or match[3], "")


def pattern_file(path: str | None) -> tuple[str, ...]:
    """The patterns of the file at `path`. Raises `ConfigError` when it cannot be read."""
    if path is None:
        return ()
    try:
        return read_patterns(Path(path).read_text(errors="surrogateescape"))
    except OSError as error:
        raise ConfigError(
            f"the exclude file {path} cannot be read: {error.strerror}",
            hint="name a file with one pattern a line",
        ) from None


def checked(excludes: Excludes) -> Excludes:
    """`excludes`, when every pattern in it is one. Raises `ConfigError`."""
    for pattern in (*excludes.patterns, *excludes.ipatterns):
        try:
            _translate(pattern.removeprefix("!"), "")
        except BadPattern as error:
            raise ConfigError(
                f"the exclude pattern {pattern!r} is none: {error}",
                hint="escape a [ that stands for itself: \\[",
            ) from None
    return excludes


def _translate(pattern: str, at: str) -> str:
    if not pattern:
        raise BadPattern("an empty pattern")
    clean = posixpath.normpath(pattern)
    if clean.startswith("//"):
        clean = clean[1:]
    rooted = clean.startswith("/")
    start = re.escape(at) if rooted else re.escape(at) + "(?:/[^/]+)*"
    return start + "".join(_part(part) for part in clean.strip("/").split("/") if part)


def _part(part: str) -> str:
    return "(?:/[^/]+)*" if part == "**" else f"/{_glob(part)}"


def _glob(part: str) -> str:
    out, at = "", 0
    while at < len(part):
        character = part[at]
        at += 1
        if character == "*":
            out += "[^/]*"
        elif character == "?":
            out += "[^/]"
        elif character == "[":
            text, at = _characters(part, at)
            out += text
        elif character == "\\":
            if at == len(part):
                raise BadPattern(f"{part!r} ends in a lone backslash")
            out += re.escape(part[at])
            at += 1
        else:
            out += re.escape(character)
    return out


def _characters(part: str, at: int) -> tuple[str, int]:
    """A class such as `[a-z]` or `[^0-9]` whose `[` was read; as Go's filepath.Match has them."""
    negated = part[at : at + 1] == "^"
    at += negated
    ranges = ""
    while not (part[at : at + 1] == "]" and ranges):
        low, at = _one(part, at)
        high = low
        if part[at : at + 1] == "-":
            high, at = _one(part, at + 1)
        if low <= high:
            ranges += f"{re.escape(low)}-{re.escape(high)}"
        else:
            ranges += r"/"  # Go takes it, and nothing matches it
    return ("[^/" if negated else "(?!/)[") + ranges + "]", at + 1


def _one(part: str, at: int) -> tuple[str, int]:
    if at < len(part) and part[at] == "\\":
        at += 1
        if at < len(part):
            return part[at], at + 1
    elif at < len(part) and part[at] not in "-]":
        return part[at], at + 1
    raise BadPattern(f"{part!r} has a character class that does not end")
