"""Secrets that a test or the sandbox puts in; they are found by their reference."""

from __future__ import annotations

from collections.abc import Mapping

from drkit.errors import MissingCredential
from drkit.secrets.interface import Secret


class MemorySecrets:
    def __init__(self, values: Mapping[str, str] | None = None) -> None:
        self._values = dict(values or {})

    def resolve(self, reference: tuple[str, ...]) -> Secret:
        for one in reference:
            if one in self._values:
                return Secret(self._values[one].rstrip("\r\n"))
        raise MissingCredential(
            f"a credential is missing: {self.missing(reference)}", hint="put it in"
        )

    def missing(self, reference: tuple[str, ...]) -> str | None:
        if any(one in self._values for one in reference):
            return None
        return ", ".join(f"{one} is not set" for one in reference)
