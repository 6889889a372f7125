"""What a reference to a secret looks like, scheme by scheme. Pure: nothing is looked up."""

from __future__ import annotations

import re
import shlex

_FORMS: dict[str, tuple[str, str]] = {
    "env": (r"[A-Za-z_][A-Za-z0-9_]*", "env:NAME, the name of a variable"),
    "file": (r".+", "file:/path"),
    "cmd": (r"\s*\S.*", "cmd:PROGRAM ARGUMENT ..., without a shell's signs"),
    "vault": (r"[^/#]+/[^#]+#[^#]+", "vault:MOUNT/PATH#KEY"),
    "aws-sm": (r"[\w/+=.@:!-]+(#[^#]+)?", "aws-sm:NAME, or aws-sm:NAME#KEY"),
    "gcp-sm": (
        r"projects/[^/#]+/secrets/[\w-]+(/versions/[\w-]+)?(#[^#]+)?",
        "gcp-sm:projects/PROJECT/secrets/NAME, with /versions/N or #KEY behind it if need be",
    ),
}


def form_problem(reference: str) -> str | None:
    """What form the reference should have, in words; None if it has it or its scheme is no
    scheme. The reference itself is not repeated: it may be a secret that was written by mistake.
    """
    scheme, _, rest = reference.partition(":")
    if scheme not in _FORMS:
        return None
    pattern, form = _FORMS[scheme]
    if not re.fullmatch(pattern, rest, re.DOTALL) or (scheme == "cmd" and not _is_words(rest)):
        return f"a {scheme} reference is written as {form}"
    return None


def _is_words(line: str) -> bool:
    try:
        return bool(shlex.split(line))
    except ValueError:
        return False
