"""Any Python function with TRL's signature is a reward, ``f(prompts, completions, **columns) -> list[float | None]``.

Letters: B episodes.
"""

from __future__ import annotations

import asyncio
import inspect
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from custodes.registry import FAILURES, place_in
from custodes.reward.base import RewardBase
from custodes.types import Episode, InputError, Scores

LARGEST = 1e30
"""The largest score: float32 holds it, and the means and squares of many are finite."""


@dataclass(eq=False)
class FunctionReward(RewardBase):
    """A function of prompts, completions and the tasks' metadata.

    The metadata and ``completion_ids`` are columns, lists of one value per episode. The function receives those that it
    names, or all where it takes ``**kwargs``. None says that the function has no opinion on an episode: its part and its
    value are NaN there.

    Raises :class:`InputError` with the episode where the function raises, takes too long, or returns another number of
    values or one that is not finite.
    """

    function: Callable[..., Any]
    name: str = ""
    text: bool = False
    """Hand on prompts and completions as text, as TRL does where prompts are text; else as lists of messages."""
    seconds: float = 0.0
    """The longest that a call may take, in the main thread; 0: as long as it likes."""

    def __post_init__(self) -> None:
        self.name = self.name or getattr(self.function, "__name__", type(self.function).__name__)

    def score(self, episodes: Sequence[Episode]) -> Scores:
        try:
            returned = self._call(episodes, self.seconds)
        except _TookTooLongError:
            what = f"did not answer in {self.seconds:g} s"
            raise InputError(
                f"reward {self.name} {what}, {self._culprit(episodes)}; mend it or allow it more time (--reward-timeout)."
            ) from None
        except _LacksColumnsError as lacks:
            raise InputError(f"reward {self.name} {lacks}") from None
        except FAILURES as error:  # of whoever wrote it
            what = f"raised {type(error).__name__}: {' '.join(str(error).split())}".rstrip(".: ")
            raise InputError(f"reward {self.name} {what}{self._line(error)}, {self._culprit(episodes)}.") from error
        try:
            values = list(returned)
        except TypeError:
            raise InputError(
                f"reward function {self.name} returned {type(returned).__name__}; it must return one value per completion."
            ) from None
        if len(values) != len(episodes):
            raise InputError(
                f"reward function {self.name} returned {len(values)} values for {len(episodes)} completions "
                f"(the first is of episode {episodes[0].id}); it must return one value per completion."
            )
        part = np.array([self._number(v, i, episodes[i].id) for i, v in enumerate(values)], np.float64)
        return Scores(value=part, parts={self.name: part})

    def _call(self, episodes: Sequence[Episode], seconds: float) -> Any:
        given = _accepted(self.function, _columns(episodes, self.text))
        with _at_most(seconds):
            returned = self.function(**given)
            return asyncio.run(returned) if inspect.iscoroutine(returned) else returned

    def _culprit(self, episodes: Sequence[Episode]) -> str:
        """Which episode it fails on: each is tried alone."""
        each = max(1.0, self.seconds / len(episodes)) if self.seconds else 0.0
        for episode in episodes:
            try:
                self._call([episode], each)
            except (*FAILURES, _TookTooLongError):
                return f"for episode {episode.id} (task {episode.task.id})"
        return f"for {len(episodes)} episodes together (the first is {episodes[0].id}) and for none of them alone"

    def _line(self, error: BaseException) -> str:
        """Where in its own file it failed."""
        code = getattr(inspect.unwrap(self.function), "__code__", None)
        return f" at {place_in(Path(code.co_filename), error)}" if code is not None else ""

    def _number(self, value: object, index: int, episode: str) -> float:
        if value is None:
            return np.nan
        try:
            number = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            number = np.nan
        if not abs(number) <= LARGEST:  # NaN is not, either
            raise InputError(
                f"reward function {self.name} returned {value!r} for completion {index} (episode {episode}); "
                f"it must return a finite number, at most {LARGEST:g}, or None where it has no opinion."
            )
        return number


def _columns(episodes: Sequence[Episode], text: bool) -> dict[str, list[Any]]:
    names = dict.fromkeys(key for episode in episodes for key in episode.task.metadata)
    columns = {name: [episode.task.metadata.get(name) for episode in episodes] for name in names}
    prompts: list[Any] = [[m.to_dict() for m in e.task.messages] for e in episodes]
    completions: list[Any] = [[m.to_dict() for m in e.messages[len(e.task.messages) :]] for e in episodes]
    if text:
        prompts, completions = [e.task.messages[-1].content for e in episodes], [e.completion for e in episodes]
    ids = [e.token_ids[e.action_mask].tolist() for e in episodes]
    return columns | {"prompts": prompts, "completions": completions, "completion_ids": ids}


def _accepted(function: Callable[..., Any], columns: dict[str, list[Any]]) -> dict[str, list[Any]]:
    parameters = inspect.signature(function).parameters
    needed = [
        p.name
        for p in parameters.values()
        if p.default is p.empty and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    ]
    if lacking := [name for name in needed if name not in columns]:
        raise _LacksColumnsError(
            f"asks for {lacking[0]!r}, and the prompts have no such column; it can have {', '.join(columns)}."
        )
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return columns
    return {name: column for name, column in columns.items() if name in parameters}


class _LacksColumnsError(Exception):
    """A function asks for a column that no prompt has."""


class _TookTooLongError(BaseException):
    """Not an Exception: a function that catches those is stopped all the same."""


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    """Raise within the block once it has lasted so long. Only the main thread receives signals."""
    if not seconds or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(*_: object) -> None:
        raise _TookTooLongError

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)  # again each second, where the first was caught
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
