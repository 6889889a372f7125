"""What a pipe and a program see of a command."""

import io
import json

import pytest

from drkit.cli.terminal.live import LiveDisplay
from drkit.cli.terminal.output import JsonTerminal, TextTerminal
from drkit.clock import ManualClock
from drkit.events import Note, Progress, StoreLagging


@pytest.fixture
def out() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def err() -> io.StringIO:
    return io.StringIO()


def test_a_pipe_gets_a_line_every_few_seconds_and_one_at_the_end(
    out: io.StringIO, err: io.StringIO
) -> None:
    clock = ManualClock()
    terminal = TextTerminal(out, err, clock)

    for done in range(101):
        terminal.emit(Progress("restore", done, 100, "files", "a/b"))
        clock.advance(0.125)  # exact in binary

    lines = err.getvalue().splitlines()
    assert lines == [
        "restore: 40 of 100 files, 40 %, 8/s, 7.5 s left, a/b",
        "restore: 80 of 100 files, 80 %, 8/s, 2.5 s left, a/b",
        "restore: 100 of 100 files, 100 %, 8/s, a/b",
    ]
    assert out.getvalue() == ""


def test_a_step_is_said_as_soon_as_it_begins(out: io.StringIO, err: io.StringIO) -> None:
    terminal = TextTerminal(out, err, ManualClock())

    terminal.emit(Progress("run", 0, 12, "steps", "preflight"))

    assert err.getvalue() == "run: 0 of 12 steps, 0 %, preflight\n"


def test_quiet_keeps_results_and_warnings_only(out: io.StringIO, err: io.StringIO) -> None:
    terminal = TextTerminal(out, err, ManualClock(), verbosity=-1)

    terminal.emit(Progress("backup", 1, 1, "files"))
    terminal.emit(Note("info", "s3", "all is well"))
    terminal.say("chatter")
    terminal.emit(StoreLagging("s3", "no answer in 60 s"))
    terminal.result("summary", {"files": 1}, "1 file")

    assert out.getvalue() == "1 file\n"
    assert err.getvalue() == "warning: s3: lagging: no answer in 60 s\n"


def test_a_store_is_named_once_in_a_line(out: io.StringIO, err: io.StringIO) -> None:
    terminal = TextTerminal(out, err, ManualClock())
    terminal.emit(Note("warning", "s3", "s3: no answer"))
    terminal.emit(StoreLagging("nas", "nas: is read-only"))
    terminal.emit(Note("info", "s3", "s3: back again"))
    assert err.getvalue().splitlines() == [
        "warning: s3: no answer",
        "warning: nas: lagging: is read-only",
        "s3: back again",
    ]


def test_a_hostile_name_moves_no_cursor(out: io.StringIO, err: io.StringIO) -> None:
    terminal = TextTerminal(out, err, ManualClock())

    terminal.emit(Note("warning", "sncp", "cannot read a\x1b[2Jb\udcff\r"))
    terminal.table("file", ["path"], [{"path": "x\x1b]0;title\x07"}])

    assert err.getvalue() == "warning: sncp: cannot read a\\x1b[2Jb\\udcff\\r\n"
    assert "\x1b" not in out.getvalue()


def test_a_table_is_aligned_and_says_what_is_not_known(out: io.StringIO, err: io.StringIO) -> None:
    terminal = TextTerminal(out, err, ManualClock())

    terminal.table(
        "store", ["store", "rpo_min"], [{"store": "gcs", "rpo_min": 4}, {"store": "b", "x": 1}]
    )

    assert out.getvalue() == "store  rpo min\ngcs    4\nb      -\n"


def test_a_program_gets_one_object_a_line(out: io.StringIO) -> None:
    clock = ManualClock()
    terminal = JsonTerminal(out, clock)

    for done in range(21):
        terminal.emit(Progress("backup", done, 20, "bytes", "a\udcff"))
        clock.advance(0.125)  # exact in binary
    terminal.emit(Note("warning", "s3", "slow"))
    terminal.say("not for programs")
    terminal.table("store", ["store"], [{"store": "gcs", "rpo_min": 4}])
    terminal.result("summary", {"files": 3}, "3 files")

    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    kinds = [line["message_type"] for line in lines]
    assert kinds == ["status", "status", "status", "note", "store", "summary"]
    assert lines[0]["eta_s"] == 1.5
    assert lines[4]["rpo_min"] == 4


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("over", [True, False])
def test_a_task_without_a_known_end_reaches_it_when_the_work_is_over(over: bool) -> None:
    screen = Screen()
    live = LiveDisplay(screen)
    live.show(Progress("scan", 5, None, "bytes", "the/last/file"), "5 B")
    live.stop(over=over)
    last = screen.getvalue().rsplit("scan", 1)[1]
    assert ("the/last/file" in last) is not over
