"""A progress bar that also tells a log file how far it is.

On a terminal this is rich's own. Where standard error goes to a file or a pipe, rich would say nothing before the end; here
a plain line says it every half a minute.
"""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

EVERY = 30.0
"""Seconds between two lines."""


class Progress(Bars):
    """rich's ``Progress`` on standard error, which is drawn on a terminal and written line by line elsewhere.

    Without ``columns`` it shows what is done, a bar, how many of how many, and the time left.
    """

    def __init__(self, *columns: Any, console: Console | None = None, **options: Any) -> None:
        shown = columns or (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        super().__init__(*shown, console=console or Console(stderr=True), **options)
        self._told = time.monotonic()

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        self.update(task_id, advance=advance)

    def update(self, task_id: TaskID, **changes: Any) -> None:
        super().update(task_id, **changes)
        now = time.monotonic()
        if self.console.is_terminal or self.disable or now - self._told < EVERY:
            return
        self._told = now
        task = next(task for task in self.tasks if task.id == task_id)
        columns = (c for c in self.columns if not isinstance(c, (BarColumn, SpinnerColumn)))
        parts = (c.format(task=task) if isinstance(c, str) else str(c(task)) for c in columns)
        self.console.print(" ".join(part for part in parts if part), markup=False, highlight=False, soft_wrap=True)
