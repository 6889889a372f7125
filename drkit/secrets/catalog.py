"""Which schemes of secrets this version resolves.

To add one: a function `(rest of the reference, places) -> text or Absent` in a file of its own,
its line in `RESOLVERS`, and its row in tests/unit/secrets.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from drkit.clock import Clock, SystemClock
from drkit.errors import MissingCredential, NotInThisVersion
from drkit.secrets.interface import Secret, Secrets
from drkit.secrets.resolvers import Absent, Places, from_environment, from_file

Resolver = Callable[[str, Places], str | Absent]


def _cmd(rest: str, places: Places) -> str | Absent:
    from drkit.secrets.command import from_command

    return from_command(rest, places)


def _vault(rest: str, places: Places) -> str | Absent:
    from drkit.secrets.vault import from_vault

    return from_vault(rest, places)


def _aws_sm(rest: str, places: Places) -> str | Absent:
    from drkit.secrets.aws import from_aws

    return from_aws(rest, places)


def _gcp_sm(rest: str, places: Places) -> str | Absent:
    from drkit.secrets.google import from_google

    return from_google(rest, places)


RESOLVERS: Mapping[str, Resolver] = {
    "env": from_environment,
    "file": from_file,
    "cmd": _cmd,
    "vault": _vault,
    "aws-sm": _aws_sm,
    "gcp-sm": _gcp_sm,
}
_FAR = ("cmd", "vault", "aws-sm", "gcp-sm")
_KEPT_S = 60.0


def open_secrets(root: Path, *, environ: Mapping[str, str] | None = None) -> Secrets:
    """Resolves references; `file:` ones that are relative lie below `root`."""
    return ReferencedSecrets(Places(os.environ if environ is None else environ, root))


class ReferencedSecrets:
    """`Secrets` by the table of resolvers, in the order in which references are written.

    What is on this machine is read each time anew; what is asked for elsewhere, once a minute.
    """

    def __init__(self, places: Places, clock: Clock | None = None) -> None:
        self._places = places
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[float, Secret]] = {}

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
            found = self._kept_or(one, scheme, lambda: resolver(rest, self._places))  # noqa: B023
            if isinstance(found, Secret):
                return found
            looked.append(found.where)
        return ", and ".join(looked)

    def _kept_or(
        self, reference: str, scheme: str, look: Callable[[], str | Absent]
    ) -> Secret | Absent:
        """What `look` finds; what came from afar is kept for a minute, since each command looks
        whether all credentials are there before it uses them."""
        now_s = self._clock.elapsed_s()
        with self._lock:
            kept_s, secret = self._kept.get(reference, (float("-inf"), None))
        if secret is not None and now_s - kept_s < _KEPT_S:
            return secret
        found = look()
        if isinstance(found, Absent):
            return found
        secret = Secret(found)
        if scheme in _FAR:
            with self._lock:
                self._kept[reference] = (now_s, secret)
        return secret
