"""The commands that look after the repository's soundness: check, and repair with its parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any

import typer

from drkit.cli.apps import opened
from drkit.cli.options import command
from drkit.cli.repository.nodes import tell_lost
from drkit.cli.repository.turns import tell_turns
from drkit.cli.session import Session
from drkit.errors import ConfigError

if TYPE_CHECKING:
    from drkit.operations.checks.check import CheckOutcome
    from drkit.operations.checks.check_weights import WeightsCheck
    from drkit.repository.check.reading_choice import Reading
    from drkit.repository.check.values import CheckReport
    from drkit.repository.heal.heal import Healed
    from drkit.wiring import App

app = typer.Typer()

Stores = Annotated[list[str] | None, typer.Option("--store", help="Only this store; repeatable.")]


@command(app, locks=True)
def check(
    session: Session,
    read_data: Annotated[
        bool,
        typer.Option("--read-data", help="Read and hash all data of every store, weights too."),
    ] = False,
    read_data_subset: Annotated[
        str | None, typer.Option(help="Read a part: n/t (1/7), a share (2.5%), or a size (500M).")
    ] = None,
    due: Annotated[
        bool,
        typer.Option(
            "--due",
            help="Read what is due today, weights too, so that all is read once within `check` "
            "of schedules.yaml; what the daemon runs.",
        ),
    ] = False,
    store: Stores = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Put back what one store has wrong, from the others.")
    ] = False,
) -> int:
    """Says whether the repository is sound, in each store by itself and over all of them."""
    reading = _reading(read_data, read_data_subset, due)
    if due and store:
        raise ConfigError("--due is about all stores", hint="leave --store away")
    only = tuple(store or ())
    with opened(session) as app:
        for name in only:
            app.store(name)  # refuses a name that is none
        prices = egress_prices(app)
        cheapest = sorted(prices, key=lambda name: prices[name])
        outcome = _check_packs(app, reading, only, cheapest, repair=repair)
        today = app.clock.now().date()
        weights = _check_weights(app, reading, only, cheapest, today, repair=repair)
    _tell(session, outcome, prices, today)
    _tell_weights(session, weights, prices, today)
    if outcome.report.damaged or any(one.damaged for one in weights):
        return 22
    return 0 if outcome.report.sound and all(one.mirror.answered for one in weights) else 3


def _reading(everything: bool, subset: str | None, due: bool) -> Reading | None:
    """How much is to be read; None: what is due today. ConfigError when it was said twice."""
    from drkit.repository.check.reading_choice import ReadAll, ReadNothing, read_subset

    if everything + (subset is not None) + due > 1:
        raise ConfigError(
            "how much is to be read was said twice",
            hint="give one of --read-data, --read-data-subset, --due",
        )
    if due:
        return None
    if everything:
        return ReadAll()
    return read_subset(subset) if subset else ReadNothing()


def _check_packs(
    app: App, reading: Reading | None, only: Sequence[str], cheapest: Sequence[str], *, repair: bool
) -> CheckOutcome:
    from drkit.operations.checks.check import run_check, run_due_check

    if reading is None:
        return run_due_check(
            app.repository,
            app.config.check.days(cheapest),
            app.state_dir,
            repair=repair,
            cheapest=cheapest,
            emit=app.emit,
        )
    return run_check(
        app.repository, reading, only=only, repair=repair, cheapest=cheapest, emit=app.emit
    )


def _check_weights(
    app: App,
    reading: Reading | None,
    only: Sequence[str],
    cheapest: Sequence[str],
    today: date,
    *,
    repair: bool,
) -> tuple[WeightsCheck, ...]:
    """Mirrored weights are read when they are due, or all of them when all is read; else looked at
    as they are listed.
    """
    from drkit.operations.checks.check_weights import check_due_weights, check_weights
    from drkit.repository.check.reading_choice import ReadAll

    if reading is None:
        return check_due_weights(
            app.weights_sources,
            app.stores,
            app.config.check,
            cheapest=cheapest,
            today=today,
            state_dir=app.state_dir,
            repair=repair,
            emit=app.emit,
        )
    return check_weights(
        app.weights_sources,
        tuple(each for each in app.stores if not only or each.name in only),
        read=isinstance(reading, ReadAll),
        repair=repair,
        emit=app.emit,
    )


def _tell_weights(
    session: Session, weights: Sequence[WeightsCheck], prices: dict[str, float], today: date
) -> None:
    from drkit.units import format_bytes

    rows: list[dict[str, Any]] = [
        {
            "source": one.source,
            "store": one.mirror.store,
            "files": one.mirror.files,
            "files_read": one.mirror.files_read,
            "bytes_read": one.mirror.bytes_read
            if session.json_lines
            else format_bytes(one.mirror.bytes_read),
            "egress_usd": round(one.mirror.bytes_read / 1e9 * prices.get(one.mirror.store, 0), 4),
            "sound": sound if session.json_lines else "yes" if sound else "NO",
        }
        for one, sound in ((one, not one.mirror.repairs) for one in weights)
    ]
    columns = ("source", "store", "files", "files_read", "bytes_read", "sound")
    if rows:
        session.terminal.table("weights_check", columns, rows)
    for one in weights:
        for file in one.mirror.repairs:
            values = asdict(file)
            end = f"put back from {file.healed_from}" if file.healed_from else file.why
            words = ": ".join(part for part in (file.store, file.path, file.what, end) if part)
            session.terminal.result("weights_file", values, words)
        if one.log is not None:
            tell_turns(session, one.mirror.store, one.log, today, source=one.source)


def egress_prices(app: App) -> dict[str, float]:
    """Dollars for a GB read, by store, in the order of the file."""
    from drkit.operations.costs.prices import price_of

    own = app.config.cost.prices
    return {
        name: price_of(store.kind, own.get(name)).egress_usd_per_gb
        for name, store in app.config.stores.items()
    }


def _tell(session: Session, outcome: CheckOutcome, prices: dict[str, float], today: date) -> None:
    _tell_stores(session, outcome.report, prices)
    for name, log in outcome.logs.items():
        tell_turns(session, name, log, today)
    if outcome.healed is not None:
        _tell_healed(session, outcome.healed)
    _tell_losses(session, outcome.report)


def _tell_stores(session: Session, report: CheckReport, prices: dict[str, float]) -> None:
    from drkit.units import format_bytes

    rows: list[dict[str, Any]] = [
        {
            "store": name,
            "packs": checked.packs,
            "packs_read": checked.packs_read,
            "bytes_read": checked.bytes_read
            if session.json_lines
            else format_bytes(checked.bytes_read),
            "egress_usd": round(checked.bytes_read / 1e9 * prices.get(name, 0.0), 4),
            "lacks": checked.lacks,
            "sound": checked.sound if session.json_lines else "yes" if checked.sound else "NO",
            "problems": list(checked.problems) if session.json_lines else len(checked.findings),
            "notes": list(checked.notes),
            "spare_packs": checked.spare_packs,
            "spare_bytes": checked.spare_bytes,
        }
        for name, checked in report.stores.items()
    ]
    columns = ("store", "packs", "packs_read", "bytes_read", "lacks", "sound", "problems")
    session.terminal.table("check", columns, rows)
    for name, checked in report.stores.items():
        for problem in (*checked.problems, *checked.notes):
            session.terminal.say(f"{name}: {problem}")
        if checked.spare_packs:
            why = "left by a run that died or is under way; drkit prune takes them"
            if report.lost or checked.lacks:  # they may be what is missing
                why = "they may hold what is missing, if an index is gone: drkit repair index"
            spare = f"{checked.spare_packs} packs ({format_bytes(checked.spare_bytes)})"
            session.terminal.say(f"{name}: {spare} are named by no index: {why}")


def _tell_healed(session: Session, healed: Healed) -> None:
    for name, thing in healed.restored:
        session.terminal.result(
            "restored", {"store": name, "object": thing}, f"{name}: put back {thing}"
        )
    for finding in (*healed.failed, *healed.by_hand):
        values = {"store": finding.store, "object": finding.name, "why": finding.what}
        text = f"{finding.store}: not put back: {finding}"
        session.terminal.result("not_restored", values, text)


def _tell_losses(session: Session, report: CheckReport) -> None:
    tell_lost(session, report.lost)
    for snapshot in report.lost_snapshots:
        text = f"lost: snapshot {snapshot[:8]} cannot be read in any store"
        session.terminal.result("lost_snapshot", {"id": snapshot}, text)
    if report.lost:
        spare = any(checked.spare_packs for checked in report.stores.values())
        first = "or in packs that no index names: drkit repair index; " if spare else ""
        session.terminal.say(
            f"what is lost may be in a store that did not answer; {first}else drkit repair packs "
            "saves what is left of damaged packs, and drkit repair snapshots leaves the losses out"
        )
