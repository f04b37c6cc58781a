"""Rewards combine by arithmetic, and any Python function with TRL's signature is one.

    reward = helpful - 0.5 * FunctionReward(length_penalty, "length")
    reward = mixture({"helpful": (helpful, 1.0), "length": (FunctionReward(length_penalty), -0.5)})

Letters: B episodes.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from custodes.types import Episode, InputError, Reward, Scores

Floats = NDArray[np.float64]


class RewardBase(ABC):
    """What a reward inherits to have a name and arithmetic: ``a + b``, ``a - b``, ``0.5 * a``, ``-a``, ``sum([...])``."""

    name: str = "reward"

    @abstractmethod
    def score(self, episodes: Sequence[Episode]) -> Scores: ...

    def __add__(self, other: Reward | int) -> RewardBase:
        if other == 0:  # the start value of sum()
            return self
        return Mixture(_terms(self) + _terms(other)) if isinstance(other, Reward) else NotImplemented

    __radd__ = __add__

    def __mul__(self, factor: float) -> RewardBase:
        if not isinstance(factor, (int, float, np.floating, np.integer)):
            return NotImplemented
        return Mixture(tuple((name, reward, weight * float(factor)) for name, reward, weight in _terms(self)))

    __rmul__ = __mul__

    def __truediv__(self, divisor: float) -> RewardBase:
        return self * (1 / divisor)

    def __neg__(self) -> RewardBase:
        return self * -1.0

    def __sub__(self, other: Reward) -> RewardBase:
        return self + -1.0 * Mixture(_terms(other)) if isinstance(other, Reward) else NotImplemented


class Mixture(RewardBase):
    """A weighted sum of rewards.

    ``parts[name]`` is each term's own value before its weight, ``parts["name/part"]`` a part of a term; a
    term that occurs twice is numbered. A part is NaN where it does not apply; the term then adds 0.
    Standard deviations are combined as those of independent terms, sqrt(sum (w std)^2): for terms that
    err together (two members of one family) this is too small. Token scores are added.
    """

    def __init__(self, terms: Sequence[tuple[str, Reward, float]]) -> None:
        if not terms:
            raise InputError("a mixture of rewards holds no reward; give at least one.")
        self.terms = tuple(terms)
        self.name = " + ".join(name for name, _, _ in terms)

    def score(self, episodes: Sequence[Episode]) -> Scores:
        value = np.zeros(len(episodes))
        variance: Floats | None = None
        token: Floats | None = None
        parts: dict[str, Floats] = {}
        for term, reward, weight in self.terms:
            name = _unused(term, parts)
            scores = reward.score(episodes)
            value += weight * scores.value
            parts[name] = scores.parts.get(term, scores.value)  # NaN where a function does not apply
            parts |= {f"{name}/{part}": column for part, column in scores.parts.items() if part != term}
            if scores.std is not None:
                variance = (weight * scores.std) ** 2 + (0.0 if variance is None else variance)
            if scores.token is not None:
                token = _add_tokens(token, weight * scores.token)
        return Scores(value=value, std=None if variance is None else np.sqrt(variance), token=token, parts=parts)


def mixture(terms: Mapping[str, tuple[Reward, float]]) -> Mixture:
    """``{name: (reward, weight)}`` -> their weighted sum, parts kept under these names."""
    return Mixture([(name, reward, float(weight)) for name, (reward, weight) in terms.items()])


@dataclass(eq=False)
class FunctionReward(RewardBase):
    """A function with TRL's signature, ``f(prompts, completions, **columns) -> list[float | None]``.

    ``prompts`` and ``completions`` are conversational (lists of ``{"role", "content"}``); the tasks'
    metadata and ``completion_ids`` are handed on as columns, lists of one value per episode, as far as
    the function names them or takes ``**kwargs``. None says that the function does not apply to an
    episode: its part is NaN there and it adds 0 to the score.

    Raises :class:`InputError` when the function returns another number of values or one that is not finite.
    """

    function: Callable[..., Sequence[float | None]]
    name: str = ""

    def __post_init__(self) -> None:
        self.name = self.name or getattr(self.function, "__name__", type(self.function).__name__)

    def score(self, episodes: Sequence[Episode]) -> Scores:
        returned = self.function(**_accepted(self.function, _columns(episodes)))
        try:
            values = list(returned)
        except TypeError:
            raise InputError(
                f"reward function {self.name} returned {type(returned).__name__}; it must return one value per completion."
            ) from None
        if len(values) != len(episodes):
            raise InputError(
                f"reward function {self.name} returned {len(values)} values for {len(episodes)} completions; "
                "it must return one value per completion."
            )
        part = np.array([self._number(v, i, episodes[i].id) for i, v in enumerate(values)], np.float64)
        return Scores(value=np.nan_to_num(part, nan=0.0), parts={self.name: part})

    def _number(self, value: object, index: int, episode: str) -> float:
        if value is None:
            return np.nan
        try:
            number = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            number = np.nan
        if not np.isfinite(number):
            raise InputError(
                f"reward function {self.name} returned {value!r} for completion {index} (episode {episode}); "
                "it must return a finite number, or None where it does not apply."
            )
        return number


def _columns(episodes: Sequence[Episode]) -> dict[str, list[Any]]:
    names = dict.fromkeys(key for episode in episodes for key in episode.task.metadata)
    return {name: [episode.task.metadata.get(name) for episode in episodes] for name in names} | {
        "prompts": [[m.to_dict() for m in e.task.messages] for e in episodes],
        "completions": [[m.to_dict() for m in e.messages[len(e.task.messages) :]] for e in episodes],
        "completion_ids": [e.token_ids[e.action_mask].tolist() for e in episodes],
    }


def _accepted(function: Callable[..., Any], columns: dict[str, list[Any]]) -> dict[str, list[Any]]:
    parameters = inspect.signature(function).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return columns
    return {name: column for name, column in columns.items() if name in parameters}


def _terms(reward: Reward) -> tuple[tuple[str, Reward, float], ...]:
    if isinstance(reward, Mixture):
        return reward.terms
    return ((getattr(reward, "name", type(reward).__name__), reward, 1.0),)


def _unused(name: str, taken: Mapping[str, Any]) -> str:
    number, candidate = 2, name
    while candidate in taken:
        candidate, number = f"{name}_{number}", number + 1
    return candidate


def _add_tokens(a: Floats | None, b: Floats) -> Floats:
    if a is None:
        return b
    out = np.zeros((len(b), max(a.shape[1], b.shape[1])))
    out[:, : a.shape[1]] += a
    out[:, : b.shape[1]] += b
    return out
