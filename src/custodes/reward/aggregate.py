"""One reward for several groups: their mean, the worst-off, a low quantile, or one group alone.

Each group's reward r_g is centred and scaled on the base policy's samples, so that groups speak in one unit.

"maxmin" is max min_g E[r_g] (MaxMin-RLHF, arXiv 2402.08925, equation 8 and algorithm 1). The group whose mean is lowest
in a batch scores all its episodes, so the mean of a batch's value is the least mean of any group. "quantile:q" takes, for
each episode, the q-quantile over annotators: of the groups' rewards, by the groups' shares. For a reward with a spread
(``spread_pairs.py``) that is mu + z_q sigma (distributional preference learning, arXiv 2312.08358, section 4).

Letters: B episodes, G groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.special import ndtri

from custodes.reward.base import RewardBase
from custodes.reward.model import OVERALL, RewardModel
from custodes.reward.spread_pairs import SPREAD
from custodes.types import Episode, Floats, InputError, Scores

FORMS = "mean, maxmin, quantile:Q (0 to 1), or group:N"


@dataclass(frozen=True, slots=True)
class Aggregate:
    """How groups become one reward."""

    how: str
    number: float = 0.0

    @staticmethod
    def read(text: str) -> Aggregate:
        """``mean``, ``maxmin``, ``quantile:0.1``, ``group:2``. Raises InputError."""
        how, colon, number = text.partition(":")
        if how in ("mean", "maxmin") and not colon:
            return Aggregate(how)
        try:
            value = float(number)
        except ValueError:
            value = np.nan
        if how == "quantile" and 0 < value < 1:
            return Aggregate(how, value)
        if how == "group" and value >= 1 and value == int(value):
            return Aggregate(how, value)
        raise InputError(f"--aggregate {text}: it must be {FORMS}.")


@dataclass(eq=False)
class GroupAggregate(RewardBase):
    """A reward whose outputs are groups', or a mean and a spread, as one value. Parts are the groups' rewards, standardised.

    Raises InputError for a reward without groups, and for a group that it does not have.
    """

    reward: RewardModel
    aggregate: Aggregate
    center: Floats = field(init=False)  # (G,) mean of each group's reward on the base policy's samples
    scale: Floats = field(init=False)  # (G,) standard deviation there

    def __post_init__(self) -> None:
        self.axes = tuple(axis for axis in self.reward.axes if axis != SPREAD)
        self.name = f"{self.reward.name}, {self.aggregate.how}"
        self.center, self.scale = np.zeros(len(self.axes)), np.ones(len(self.axes))
        how, number = self.aggregate.how, self.aggregate.number
        if not self.spread and not all(axis.startswith("group_") for axis in self.reward.axes):
            raise InputError(
                f"--aggregate {how}: the reward {self.reward.name} has no groups and no spread; train one with "
                "custodes reward train --groups or --spread mean-variance."
            )
        if self.spread and how in ("maxmin", "group"):
            raise InputError(
                f"--aggregate {how}: the reward {self.reward.name} has a spread and no groups; use quantile:Q."
            )
        if how == "group" and number > len(self.axes):
            raise InputError(
                f"--aggregate group:{number:g}: the reward {self.reward.name} has {len(self.axes)} groups."
            )

    @property
    def spread(self) -> bool:
        """Whether the reward has a mean and a variance in place of groups."""
        return self.reward.axes == (OVERALL, SPREAD)

    def standardise(self, samples: Sequence[Episode]) -> None:
        """Centre and scale every group's reward on the base policy's ``samples``."""
        raw = self._groups(self.reward.score(samples))
        self.center, self.scale = raw.mean(axis=0), np.maximum(raw.std(axis=0), 1e-6)

    def score(self, episodes: Sequence[Episode]) -> Scores:
        scores = self.reward.score(episodes)
        groups = (self._groups(scores) - self.center) / self.scale
        share = self.reward.weighing[: len(self.axes)]
        kept = share > 0  # a group that a person takes for poisoners has no say
        how, number = self.aggregate.how, self.aggregate.number
        if self.spread:
            sigma = np.exp(scores.parts[SPREAD] / 2) / self.scale[0]
            value = groups[:, 0] + (float(ndtri(number)) * sigma if how == "quantile" else 0.0)
        elif how == "group":
            value = groups[:, int(number) - 1]
        elif how == "maxmin":
            means = np.where(kept, groups.mean(axis=0), np.inf)
            value = groups[:, int(means.argmin())]
        elif how == "quantile":
            value = _quantile(groups[:, kept], share[kept], number)
        else:
            value = groups @ share
        return replace(scores, value=value, std=None, parts=dict(zip(self.axes, groups.T, strict=True)))

    def _groups(self, scores: Scores) -> Floats:
        """(B, G)"""
        if len(self.axes) == 1:
            return scores.value[:, None]
        return np.stack([scores.parts[axis] for axis in self.axes], axis=1)


def _quantile(groups: Floats, share: Floats, q: float) -> Floats:
    """(B,) the smallest group's reward to which at least a share ``q`` of the annotators comes."""
    order = np.argsort(groups, axis=1)
    reached = np.cumsum(share[order], axis=1) >= q * share.sum() - 1e-12
    return np.take_along_axis(np.take_along_axis(groups, order, axis=1), reached.argmax(axis=1)[:, None], axis=1)[:, 0]
