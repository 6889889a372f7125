"""Machines that are still paid for, as the journals of this machine's runs know them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from drkit.coordination.interface import RoleRecord
from drkit.runs.records import EXTERNAL, Entry, RunRecord, former_of, paid_resources


@dataclass(frozen=True, slots=True)
class PaidMachine:
    """`what` runs on `target` since `since`, made by `run_id`. `way`: why it is there, and what
    gives it back.
    """

    instance: str
    what: str
    target: str
    run_id: str
    usd_per_hour: float
    since: datetime
    way: str

    def words(self) -> str:
        price = f"${self.usd_per_hour:.2f} an hour since {self.since:%Y-%m-%d %H:%M} UTC"
        return f"paid for: {self.what} {self.instance} on {self.target}, {price}: {self.way}"


def paid_machines(
    runs: Iterable[tuple[RunRecord, Sequence[Entry]]], role: RoleRecord | None
) -> tuple[PaidMachine, ...]:
    """Those that exist and of which no run has written that they are gone, the newest first."""
    journals = {run.id: (run, entries) for run, entries in runs}
    known = [(run, paid_resources(entries)) for run, entries in journals.values()]
    serving = _brought_by(journals, role)
    gone = {
        paid.instance_id for _, all_paid in known for paid in all_paid if paid.gone_at is not None
    }
    return tuple(
        PaidMachine(
            instance=paid.instance_id,
            what=paid.what,
            target=run.target,
            run_id=run.id,
            usd_per_hour=paid.usd_per_hour,
            since=paid.requested_at,
            way=_way(run, role, serving),
        )
        for run, all_paid in known
        for paid in all_paid
        if paid.instance_id is not None and paid.instance_id not in gone
    )


def _brought_by(
    journals: Mapping[str, tuple[RunRecord, Sequence[Entry]]], role: RoleRecord | None
) -> str | None:
    """The run whose machine serves, or served until users were held; None: these do not tell."""
    site, run_id = (role.site, role.run_id) if role else (None, None)
    for _ in journals:
        found = journals.get(run_id or "")
        if found is None or site is None:
            return None
        run, entries = found
        if run.led_to(site):
            return run.id
        former = former_of(entries)
        site, _url, run_id = former or (None, None, None)
    return None


def _way(run: RunRecord, role: RoleRecord | None, serving: str | None) -> str:
    if not run.state.ended:
        return f"run {run.id} is open, and gives it back when it is rolled back"
    if run.id == serving:
        serves = "served until users were held" if role and role.site == EXTERNAL else "serves"
        return f"it {serves}; drkit failback gives it back"
    if serving is None and role is not None and role.site == run.target:
        return f"it may be what serves: this machine has no journal of run {role.run_id}"
    return (
        "NOTHING NEEDS IT ANY MORE, and no command gives it back: end it at the provider, where it "
        f"carries the tag drkit-run={run.id}"
    )
