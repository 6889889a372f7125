"""The live display on a terminal: a bar for each running task. The one importer of rich."""

from __future__ import annotations

from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn
from rich.text import Text

from drkit.cli.terminal.printable import printable
from drkit.events import Progress as ProgressEvent

BAR_COLUMNS = 24
GAPS = 6


class LiveDisplay:
    """Bars with text beside them; notes scroll above. Not thread-safe: the terminal locks."""

    def __init__(self, err: TextIO) -> None:
        self._console = Console(file=err, highlight=False, markup=False)
        self._progress: Progress | None = None
        self._tasks: dict[str, TaskID] = {}

    def show(self, event: ProgressEvent, text: str) -> None:
        """`text` is amount, rate and time left; the detail (a file, a step) is cut to fit."""
        progress = self._running()
        task = self._tasks.get(event.task)
        if task is None:
            task = progress.add_task(event.task, total=event.total, text="", detail="")
            self._tasks[event.task] = task
        progress.update(
            task,
            completed=event.done,
            total=event.total,
            text=text,
            detail=self._cut(printable(event.detail), len(event.task) + len(text)),
        )

    def _cut(self, detail: str, taken: int) -> str:
        """The end of `detail`, which tells most of a path, as far as the line has room."""
        room = self._console.width - taken - BAR_COLUMNS - GAPS
        if len(detail) <= room:
            return detail
        return f"…{detail[1 - room :]}" if room > 8 else ""

    def note(self, text: str) -> None:
        self._console.print(Text(text), soft_wrap=True)

    def stop(self, *, over: bool = False) -> None:
        """Leaves the last state on the screen; the next `show` begins anew.

        `over`: the work went well, so that a task whose end nobody knew has reached it.
        """
        if self._progress:
            for task in self._progress.tasks if over else ():
                if task.total is None:
                    self._progress.update(
                        task.id, total=task.completed or 1, completed=task.completed or 1
                    )
                self._progress.update(task.id, detail="")
            self._progress.stop()
        self._progress = None
        self._tasks.clear()

    def _running(self) -> Progress:
        if self._progress is None:
            self._progress = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=BAR_COLUMNS),
                TextColumn("{task.fields[text]}", markup=False),
                TextColumn("{task.fields[detail]}", markup=False, style="dim"),
                console=self._console,
                refresh_per_second=8,
            )
            self._progress.start()
        return self._progress
