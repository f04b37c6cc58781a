"""Replies that are given, not drawn: what it takes to say how likely a model finds one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from custodes.types import Episode, InputError, Task


class CannotTell(InputError):  # noqa: N818 - what a model is asked, not who erred
    """The engine cannot tell how likely its model finds a reply: whoever asked goes without."""


def continued(task: Task, prompt: NDArray[np.int32], whole: NDArray[np.int32]) -> Episode:
    """An episode to be scored: its actions are what follows ``prompt`` (P,) in ``whole`` (T,), both token ids."""
    mask = np.arange(len(whole)) >= len(prompt)
    return Episode(task.id, task, task.messages, whole, mask, np.zeros(len(whole), np.float32), "stop", "")


def check_continues(
    name: str, reply: str, prompt: Sequence[int] | NDArray[np.int32], whole: Sequence[int] | NDArray[np.int32]
) -> None:
    """Raises CannotTell unless the tokens of a prompt with a reply's beginning are those of the prompt, and more."""
    if len(whole) <= len(prompt) or not np.array_equal(whole[: len(prompt)], prompt):
        raise CannotTell(
            f"{name} merges the beginning of the reply {reply!r} with the end of the prompt, so its probability cannot be "
            "told; use another model."
        )
