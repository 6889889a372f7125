"""Which schemes of secrets this version resolves.

To add one: a function `(rest of the reference, places) -> text or Absent` in a file of its own,
its line in `RESOLVERS`, and its row in tests/unit/secrets.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from drkit.errors import MissingCredential, NotInThisVersion
from drkit.secrets.interface import Secret, Secrets
from drkit.secrets.resolvers import Absent, Places, from_environment, from_file

Resolver = Callable[[str, Places], str | Absent]

RESOLVERS: Mapping[str, Resolver] = {
    "env": from_environment,
    "file": from_file,
}


def open_secrets(root: Path, *, environ: Mapping[str, str] | None = None) -> Secrets:
    """Resolves references; `file:` ones that are relative lie below `root`."""
    return ReferencedSecrets(Places(os.environ if environ is None else environ, root))


class ReferencedSecrets:
    """`Secrets` by the table of resolvers, in the order in which references are written."""

    def __init__(self, places: Places) -> None:
        self._places = places

    def resolve(self, reference: tuple[str, ...]) -> Secret:
        found = self._look(reference)
        if isinstance(found, Secret):
            return found
        schemes = [one.partition(":")[0] for one in reference]
        if not any(scheme in RESOLVERS for scheme in schemes):
            raise NotInThisVersion(
                f"{schemes[0]}: secrets",
                hint=f"this version resolves {', '.join(f'{name}:' for name in RESOLVERS)}; "
                "add such a reference to the list",
            )
        raise MissingCredential(
            f"a credential is missing: {found}",
            hint="set it where it is looked for, or rehearse without credentials: add --sandbox",
        )

    def missing(self, reference: tuple[str, ...]) -> str | None:
        found = self._look(reference)
        return None if isinstance(found, Secret) else found

    def _look(self, reference: tuple[str, ...]) -> Secret | str:
        """The secret, or where it was looked for."""
        looked = []
        for one in reference:
            scheme, _, rest = one.partition(":")
            resolver = RESOLVERS.get(scheme)
            if resolver is None:
                looked.append(f"{scheme}: has no resolver in this version")
                continue
            found = resolver(rest, self._places)
            if isinstance(found, str):
                return Secret(found)
            looked.append(found.where)
        return ", and ".join(looked)
