"""A run that nobody executes is one process's for a moment, in which an operator's word is written.

A claim that was given back is taken as it is: whoever else takes it next does so in a transaction,
and from then on nothing is written by this process. One that was not given back may be that of a
process that died, or of one that lives where this machine cannot see it: only the lease of the
service tells, which whoever executes a run holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from drkit.runs.journal.journal import Journal


class _Held(Protocol):
    def wait_s(self) -> float: ...


LeaseOf = Callable[[str], AbstractContextManager[_Held]]
"""The lease of the service of a run, held while it is entered: a `KeptLease`."""


@contextmanager
def claimed(journal: Journal, run_id: str, lease_of: LeaseOf) -> Iterator[None]:
    """Raises `ClaimLost` or `LeaseHeld` while a process executes the run, wherever that is, and
    `ArbiterUnreachable` when it cannot be told; then nothing was claimed.
    """
    journal.unless_executed(run_id)
    if journal.is_free(run_id):
        with _claim(journal, run_id, only_free=True):
            yield
        return
    with lease_of(run_id) as lease, _claim(journal, run_id, only_free=False):
        if lease.wait_s() > 0:  # whoever resumes the run has this lease already, and waits too (T3)
            said = "what the former holder sent may still arrive"
            journal.append(run_id, "note", payload={"former_holder": True, "text": said})
        yield


@contextmanager
def _claim(journal: Journal, run_id: str, *, only_free: bool) -> Iterator[None]:
    journal.claim(run_id, only_free=only_free)
    try:
        yield
    finally:
        journal.release(run_id)
