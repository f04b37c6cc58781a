"""A turn is one step of a trainer of TRL or transformers: it draws, scores and learns between the step's beginning and its end."""

from typing import Any

from protocol import Clock
from transformers import TrainerCallback


class Turns(TrainerCallback):
    """Waits for its turn before each step, and reports the units of work that the step did."""

    def __init__(self, units: int) -> None:
        self.units = units

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self.clock = Clock()

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self.clock.wait_and_start()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.clock.stop(self.units)
