"""A progress bar for reward training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn

from custodes.job.progress import Progress
from custodes.reward.train import OnStep, TrainStep

SMOOTHING = 0.9
"""Weight of the past in the shown loss and accuracy: single batches jump."""


@contextmanager
def show_progress() -> Iterator[OnStep]:
    """Shows updates on stderr, from the first on: loss and accuracy (running means), time passed and left."""
    columns = (TextColumn("reward"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[text]}"))
    progress = Progress(*columns, TimeElapsedColumn())
    task = progress.add_task("reward", total=None, text="")
    means: dict[str, float] = {}

    with ExitStack() as shown:

        def on_step(done: TrainStep) -> None:
            if not progress.live.is_started:
                shown.enter_context(progress)
            for name, now in (("loss", done.loss), ("accuracy", done.accuracy)):
                means[name] = SMOOTHING * means.get(name, now) + (1 - SMOOTHING) * now
            left = f"{int(done.seconds_left // 60)}:{int(done.seconds_left % 60):02d} left"
            text = f"loss {means['loss']:.3f}, accuracy {means['accuracy']:.2f}, {left}"
            progress.update(task, completed=done.step, total=done.steps, text=text)

        yield on_step
