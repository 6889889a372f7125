"""`drkit cost`: what the stores cost a month, before they send the bill."""

from __future__ import annotations

import typer

from drkit.cli.options import command
from drkit.cli.session import Session

app = typer.Typer()


@command(app)
def cost(session: Session) -> None:
    """Reckons what the stores cost a month: storage, requests and egress, from the schedules."""
    from drkit.operations.costs.cost import monthly_cost

    report = monthly_cost(session.load_config())
    rows = [
        {
            "store": bill.store,
            "stored": f"{bill.stored_bytes / 1e9:.1f} GB",
            "requests": f"{bill.counts.requests:,}",
            "egress": f"{bill.counts.read_bytes / 1e9:.1f} GB",
            "storage_usd": f"{bill.storage_usd:.2f}",
            "requests_usd": f"{bill.requests_usd:.2f}",
            "egress_usd": f"{bill.egress_usd:.2f}",
            "total_usd": f"{bill.total_usd:.2f}",
            "stored_bytes": round(bill.stored_bytes),
            "egress_bytes": bill.counts.read_bytes,
            "puts_and_lists": bill.counts.puts + bill.counts.lists,
            "gets": bill.counts.gets + bill.counts.stats,
        }
        for bill in report.stores
    ]
    columns = ("store", "stored", "requests", "egress", "storage_usd", "requests_usd", "egress_usd")
    session.terminal.table("store_cost", (*columns, "total_usd"), rows)
    for note in report.notes:
        session.terminal.say(f"  {note}")
    session.terminal.result(
        "cost",
        {"usd_per_month": round(report.total_usd, 2), "notes": list(report.notes)},
        f"${report.total_usd:.2f} a month",
    )
