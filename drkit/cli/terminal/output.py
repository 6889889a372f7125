"""What a command shows: a live display on a terminal, plain lines in a pipe, or NDJSON.

Results go to standard output; progress and notes to standard error. With --json all of them are
lines on standard output, and only `exit_error` is on standard error.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from drkit.cli.terminal.meter import Meter, describe
from drkit.cli.terminal.printable import printable
from drkit.clock import Clock, SystemClock
from drkit.events import Event, Note, Progress, StoreLagging, unnamed

if TYPE_CHECKING:
    from drkit.cli.terminal.live import LiveDisplay

PLAIN_EVERY_S = 5.0
JSON_EVERY_S = 1.0


class Terminal(Protocol):
    """Where one command answers. `emit` may be called from any thread."""

    def emit(self, event: Event) -> None: ...

    def say(self, text: str) -> None:
        """A line for people; not with --json."""
        ...

    def result(self, message_type: str, values: Mapping[str, Any], text: str = "") -> None:
        """The outcome: `values` as one line with --json, else `text`."""
        ...

    def table(
        self, message_type: str, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]
    ) -> None:
        """Rows: one line each with --json (every value), else the `columns` aligned."""
        ...

    def close(self) -> None:
        """Ends the live display; may be called twice."""
        ...


def open_terminal(*, json_lines: bool, verbosity: int) -> Terminal:
    if json_lines:
        return JsonTerminal(sys.stdout, SystemClock())
    live = None
    if sys.stderr.isatty() and verbosity >= 0:
        from drkit.cli.terminal.live import LiveDisplay

        live = LiveDisplay(sys.stderr)
    return TextTerminal(sys.stdout, sys.stderr, SystemClock(), verbosity=verbosity, live=live)


class TextTerminal:
    """For people. Without a live display a task says where it is every few seconds."""

    def __init__(
        self,
        out: TextIO,
        err: TextIO,
        clock: Clock,
        *,
        verbosity: int = 0,
        live: LiveDisplay | None = None,
    ) -> None:
        self._out = out
        self._err = err
        self._verbosity = verbosity
        self._live = live
        self._pace = _Pace(clock, PLAIN_EVERY_S)
        self._lock = threading.Lock()

    def emit(self, event: Event) -> None:
        with self._lock:
            match event:
                case Progress():
                    self._progress(event)
                case StoreLagging():
                    why = unnamed(event.store, event.reason)
                    self._note(f"warning: {event.store}: lagging: {why}")
                case Note():
                    said = f"{event.subject}: {unnamed(event.subject, event.text)}"
                    if event.level != "info":
                        self._note(f"{event.level}: {said}")
                    elif self._verbosity >= 0:
                        self._note(said)

    def say(self, text: str) -> None:
        if self._verbosity >= 0:
            self._write(text)

    def result(self, message_type: str, values: Mapping[str, Any], text: str = "") -> None:
        if text:
            self._write(text)

    def table(
        self, message_type: str, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]
    ) -> None:
        cells = [[printable(_cell(row.get(column))) for column in columns] for row in rows]
        lines = [[column.replace("_", " ") for column in columns], *cells]
        widths = [max(len(line[index]) for line in lines) for index in range(len(columns))]
        for line in lines:
            padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
            self._write("  ".join(padded).rstrip())

    def close(self) -> None:
        with self._lock:
            if self._live:
                self._live.stop()
            self._out.flush()

    def _progress(self, event: Progress) -> None:
        if self._verbosity < 0:
            return
        meter, due = self._pace.follow(event)
        text = describe(event, meter)
        if self._live:
            self._live.show(event, text)
        elif due:
            detail = f", {printable(event.detail)}" if event.detail else ""
            print(f"{event.task}: {text}{detail}", file=self._err, flush=True)

    def _note(self, text: str) -> None:
        if self._live:
            self._live.note(printable(text))
        else:
            print(printable(text), file=self._err, flush=True)

    def _write(self, text: str) -> None:
        with self._lock:
            if self._live:
                self._live.stop(over=True)
            print(printable(text), file=self._out)


class JsonTerminal:
    """For programs: one object a line, `message_type` says which."""

    def __init__(self, out: TextIO, clock: Clock) -> None:
        self._out = out
        self._pace = _Pace(clock, JSON_EVERY_S)
        self._lock = threading.Lock()

    def emit(self, event: Event) -> None:
        with self._lock:
            match event:
                case Progress():
                    meter, due = self._pace.follow(event)
                    if due:
                        self._line("status", _progress_values(event, meter))
                case StoreLagging():
                    self._line("store_lagging", {"store": event.store, "reason": event.reason})
                case Note():
                    values = {"level": event.level, "subject": event.subject, "text": event.text}
                    self._line("note", values)

    def say(self, text: str) -> None:
        """People's lines are not for programs."""

    def result(self, message_type: str, values: Mapping[str, Any], text: str = "") -> None:
        with self._lock:
            self._line(message_type, values)

    def table(
        self, message_type: str, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]
    ) -> None:
        with self._lock:
            for row in rows:
                self._line(message_type, row)

    def close(self) -> None:
        with self._lock:
            self._out.flush()

    def _line(self, message_type: str, values: Mapping[str, Any]) -> None:
        line = json.dumps({"message_type": message_type, **values}, default=str)
        print(line, file=self._out, flush=True)


class _Pace:
    """A meter for each task, and whether a task is due to be shown again."""

    def __init__(self, clock: Clock, every_s: float) -> None:
        self._clock = clock
        self._every_s = every_s
        self._meters: dict[str, Meter] = {}
        self._shown_s: dict[str, float] = {}

    def follow(self, event: Progress) -> tuple[Meter, bool]:
        now_s = self._clock.elapsed_s()
        meter = self._meters.get(event.task)
        if meter is None or event.done < meter.last_done:
            meter = self._meters[event.task] = Meter(now_s, event.done)
            self._shown_s[event.task] = now_s - self._every_s if event.unit == "steps" else now_s
        meter.advance(event, now_s)
        ended = event.total is not None and event.done >= event.total
        due = ended or now_s - self._shown_s[event.task] >= self._every_s
        if due:
            self._shown_s[event.task] = now_s
        return meter, due


def _progress_values(event: Progress, meter: Meter) -> dict[str, Any]:
    eta_s = meter.eta_s(event)
    return {
        "task": event.task,
        "done": event.done,
        "total": event.total,
        "unit": event.unit,
        "detail": event.detail,
        "rate_per_s": round(meter.rate_per_s, 1),
        "eta_s": None if eta_s is None else round(eta_s, 1),
    }


def _cell(value: Any) -> str:
    return "-" if value is None else str(value)
