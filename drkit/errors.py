"""Every error a user can meet, split by who must act, each with what to do next.

An error carries its exit status; the command line's one error boundary turns it into words.
Statuses are those of the exit table in docs/architecture.md (restic's where restic has one); what
is no error there (3: done in part; 21: RPO broken; 23: a drill failed) a command returns.
"""

from __future__ import annotations

from typing import ClassVar


class DrkitError(Exception):
    """What happened and where (`message`), and what to do next (`hint`)."""

    exit_status: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


# You must act: usage and configuration.
class ConfigError(DrkitError):
    """The configuration or the command line is wrong; nothing was done."""

    exit_status = 2


class MissingCredential(ConfigError):
    """A secret that is referred to cannot be found where it is looked for."""


class NotInThisVersion(ConfigError):
    """The configuration is valid, but this version has no adapter for what it names."""

    def __init__(self, kind: str, *, hint: str) -> None:
        super().__init__(f"not in this version: {kind}", hint=hint)
        self.kind = kind


# The place must be mended: a store, a provider, a server.
class PlaceError(DrkitError):
    """A place could not be reached or refused the request."""

    exit_status = 20


class TooFewCopies(PlaceError):
    """Fewer than `min_copies` stores hold the whole of what was written."""


class OutOfCapacity(PlaceError):
    """No candidate had a GPU to give."""

    exit_status = 26


# The data must be mended: the repository and what comes back from it.
class RepositoryError(DrkitError):
    """The repository, or an object in it, is not what it must be."""

    exit_status = 22


class NoRepository(RepositoryError):
    exit_status = 10


class RepositoryLocked(RepositoryError):
    exit_status = 11


class WrongKey(RepositoryError):
    exit_status = 12


class DamagedData(RepositoryError):
    """An object's bytes do not match its hash, in every place it was read from."""


class VerificationFailed(RepositoryError):
    """What came back is not what was recorded."""


# An operator must decide.
class GuardRefused(DrkitError):
    """A guard rail refused; the old state is intact."""

    exit_status = 24


class NeedsOperator(DrkitError):
    """An approval, an anomaly or an open run waits for a person."""

    exit_status = 25


class Interrupted(DrkitError):
    exit_status = 130
