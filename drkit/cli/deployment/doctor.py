"""`drkit doctor`: is each store as it must be, and does each secret resolve?"""

from __future__ import annotations

from typing import Annotated

import typer

from drkit.cli.options import command
from drkit.cli.session import Session

app = typer.Typer()

Only = Annotated[
    list[str] | None, typer.Option("--store", metavar="NAME", help="Only this store; repeatable.")
]
EXIT_STATUS = {"ok": 0, "problem": 2, "unreachable": 20}


@command(app)
def doctor(session: Session, store: Only = None) -> int:
    """Asks each store what it does by itself and what its credential may do, and says what to do.

    Writes a probe of 8 MiB below probe/ and removes it. Exit status: 0 if nothing is wrong
    (warnings do not count), 2 if something must be mended, 20 if stores are unreachable only.
    """
    from drkit.cli.apps import opened
    from drkit.config.secret_refs import references
    from drkit.errors import ConfigError
    from drkit.operations.readiness.doctor import (
        Diagnosis,
        examine_secrets,
        examine_stores,
        summary,
    )

    with opened(session, parts=()) as app:
        only = store or []
        if unknown := [name for name in only if name not in app.config.stores]:
            raise ConfigError(
                f"there is no store {unknown[0]!r}",
                hint=f"there are {', '.join(app.config.stores)}",
            )
        parts = [f"stores.{name}" for name in only] or None
        asked = references(app.config, only=parts)
        findings = list(examine_secrets(asked, app.secrets.missing))
        for finding in findings:
            _show(session, finding)
        for finding in examine_stores(app.config, app.store_alone, clock=app.clock, only=only):
            findings.append(finding)
            _show(session, finding)
    counts = summary(findings)
    diagnosis = Diagnosis(tuple(findings))
    words = ", ".join(f"{count} {level}" for level, count in counts.items() if count)
    session.terminal.result("doctor", {**counts, "verdict": diagnosis.worst}, words)
    return EXIT_STATUS[diagnosis.worst]


def _show(session: Session, finding: object) -> None:
    from drkit.operations.readiness.doctor_rules import Finding

    assert isinstance(finding, Finding)
    sign = {"ok": "ok     ", "note": "note   ", "warning": "WARNING", "problem": "PROBLEM"}
    advice = f"\n          -> {finding.advice}" if finding.advice else ""
    session.terminal.result(
        "finding",
        {
            "subject": finding.subject,
            "check": finding.check,
            "level": finding.level,
            "text": finding.text,
            "advice": finding.advice,
        },
        f"{sign[finding.level]} {finding.subject} {finding.check}: {finding.text}{advice}",
    )
