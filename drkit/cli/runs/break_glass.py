"""May this command act: is the arbiter there, or does an operator type that it must go without?"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from drkit.cli.session import Session
from drkit.errors import GuardRefused, NeedsOperator

if TYPE_CHECKING:
    from drkit.coordination.interface import ArbiterUnreachable
    from drkit.wiring import App


def arbiter_words(session: Session, app: App, *, break_glass: bool) -> list[str]:
    """What the run's process is to be told of the arbiter: nothing, when it answers. What an
    earlier run recorded without it is told to it then.

    Raises `ArbiterUnreachable` without `break_glass`, `GuardRefused` when there is no glass to
    break, `NeedsOperator` when the words were not typed (R1).
    """
    from drkit.coordination.interface import ArbiterUnreachable
    from drkit.wiring.run import tell_kept_role
    from drkit.wiring.watch import service_of

    service = service_of(app).name
    try:
        app.arbiter.read_role(service)
    except ArbiterUnreachable as error:
        if not break_glass:
            raise ArbiterUnreachable(
                f"{error.message}; without the arbiter nothing is bought, fenced or moved",
                hint=f"{error.hint}; if that cannot be awaited and nobody else acts: --break-glass",
            ) from error
        _typed(session, service, error)
        return ["--break-glass"]
    if break_glass:
        raise GuardRefused("the arbiter answers", hint="leave --break-glass out")
    if (told := tell_kept_role(app, service)) is not None:
        session.terminal.say(
            f"the arbiter knows now that {told.site} serves, epoch {told.epoch}, by {told.run_id}"
        )
    return []


def _typed(session: Session, service: str, error: ArbiterUnreachable) -> None:
    say = session.terminal.say
    say(f"{error.message}.")
    say("Nothing keeps another drkit from acting at the same time. See that none does: that no")
    say("daemon runs, and that nobody else fails over. Effects wait until its lease has run out.")
    if session.json_lines or not sys.stdin.isatty():
        raise NeedsOperator(
            "to act without the arbiter has to be typed by a person; nothing was done",
            hint="run it at a terminal",
        )
    if (
        input(f"to go on without the arbiter, type the name of the service ({service}): ")
        != service
    ):
        raise NeedsOperator("that is not its name; nothing was done", hint="type it as it is shown")
