"""What a new machine does first: waits for its ticket, and fetches the weights that it names."""

from __future__ import annotations

from pathlib import Path

from drkit.clock import Clock
from drkit.errors import ConfigError, PlaceError
from drkit.events import Emit, Note
from drkit.mirror.fetch import FetchReport, fetch_ticket
from drkit.mirror.ticket import KEY_BYTES, MOST_TICKET_BYTES, Ticket, open_ticket

TICKET_KEY_VARIABLE = "DRKIT_TICKET_KEY"
"""The environment variable that holds the ticket's key, in hexadecimal: all that K4 allows."""

_POLL_S = 0.2


def read_ticket_key(text: str | None) -> bytes:
    """The key in `text`, the value of `TICKET_KEY_VARIABLE`. It is never repeated in an error."""
    try:
        key = bytes.fromhex(text or "")
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise ConfigError(
            f"{TICKET_KEY_VARIABLE} does not hold a ticket's key",
            hint=f"whoever starts this machine sets it: {2 * KEY_BYTES} hexadecimal digits",
        )
    return key


def fetch_by_ticket(
    ticket_file: Path, into: Path, key: bytes, *, wait_s: float, clock: Clock, emit: Emit
) -> FetchReport:
    """Brings the weights below `into`, every byte checked, as soon as the ticket is there.

    A ticket that has expired is waited out: a run that is resumed puts a new one in its place.
    Raises `PlaceError` when none came in `wait_s`, else what `fetch_ticket` raises.
    """
    began_s = clock.elapsed_s()
    expired: bytes | None = None
    emit(Note("info", "bootstrap", f"waits for {ticket_file}"))
    while clock.elapsed_s() - began_s < wait_s:
        sealed = _read(ticket_file)
        if sealed is None or sealed == expired:
            clock.sleep(_POLL_S)
            continue
        ticket: Ticket = open_ticket(sealed, key)
        if clock.now() < ticket.expires_at:
            return fetch_ticket(ticket, into, clock=clock, emit=emit)
        emit(Note("warning", "bootstrap", "the ticket has expired; waits for a new one"))
        expired = sealed
    raise PlaceError(
        f"no valid ticket came to {ticket_file} in {wait_s:.0f} s",
        hint="drkit runs resume mints a new one and puts it there",
    )


def _read(ticket_file: Path) -> bytes | None:
    """The ticket's bytes; one more than any ticket may have tells the parser that it is none."""
    try:
        with ticket_file.open("rb") as file:
            return file.read(MOST_TICKET_BYTES + 1)
    except FileNotFoundError:
        return None
