"""Constraints: parts of the reward that keep within bounds, by multipliers that learn (safe RLHF, arXiv 2310.12773).

With costs C_k and their bounds d_k the policy maximises E[R] - sum_k lam_k (E[C_k] - d_k). A step's reward is
(R - sum_k lam_k C_k) / (1 + sum_k lam_k). The multipliers follow the mean cost of a window of episodes:
log lam_k += eta lam_k (mean C_k - d_k), with lam_k at most lam_max (the paper's equations 10 and 11, and appendix B.2).
A floor enters as a cost with its sign turned.

Letters: B episodes, K constraints.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from custodes.reward.parts import part_named
from custodes.types import InputError, Scores

_FORM = re.compile(r"\s*(?P<part>.+?)\s*(?P<side><=|>=)\s*(?P<bound>\S+)\s*")


@dataclass(frozen=True, slots=True)
class Constraint:
    """A part of the reward, and what its mean must be: at most, or at least, ``bound``."""

    part: str
    bound: float
    floor: bool

    @staticmethod
    def read(text: str) -> Constraint:
        """``harmless>=0.2`` or ``length<=0.2``. Raises InputError."""
        match = _FORM.fullmatch(text)
        try:
            bound = float(match["bound"]) if match else math.nan
        except ValueError:
            bound = math.nan
        if match is None or not math.isfinite(bound):
            raise InputError(
                f"--constrain {text!r}: write a part of the reward, <= or >=, and a number, e.g. 'harmless>=0.2'."
            )
        return Constraint(match["part"], bound, match["side"] == ">=")

    @property
    def key(self) -> str:
        """Its name among metrics."""
        return f"{self.part}_{'at_least' if self.floor else 'at_most'}"

    @property
    def sign(self) -> float:
        """What a part is multiplied by to be a cost."""
        return -1.0 if self.floor else 1.0

    def __str__(self) -> str:
        return f"{self.part}{'>=' if self.floor else '<='}{self.bound:g}"


def read_constraints(texts: Sequence[str]) -> tuple[Constraint, ...]:
    """Raises InputError for one that cannot be read, and for two of one part that say the same."""
    constraints = tuple(Constraint.read(text) for text in texts)
    keys = [c.key for c in constraints]
    if twice := [str(c) for c in constraints if keys.count(c.key) > 1]:
        raise InputError(f"--constrain {' and '.join(twice)} bound the same part on the same side; leave one out.")
    return constraints


@dataclass(frozen=True, slots=True)
class Multipliers:
    """The multiplier of each constraint, and the costs of the last episodes. It does not change: a step makes another."""

    constraints: tuple[Constraint, ...]
    logs: tuple[float, ...]  # (K,) log lam
    recent: tuple[tuple[float, ...], ...]  # (K, up to the window) costs, the newest last

    @staticmethod
    def begin(constraints: Sequence[Constraint], start: float) -> Multipliers:
        K = len(constraints)
        return Multipliers(tuple(constraints), (math.log(start),) * K, ((),) * K)

    @property
    def values(self) -> NDArray[np.float64]:
        """(K,) lam."""
        return np.exp(self.logs)

    def after(self, scores: Scores, rate: float, highest: float, window: int) -> Multipliers:
        """Those of the next step, which has these scores. A multiplier whose part was never known stays."""
        logs, recent = [], []
        for k, constraint in enumerate(self.constraints):
            costs = self._costs(scores, k)
            kept = (*self.recent[k], *costs[~np.isnan(costs)].tolist())[-window:]
            excess = float(np.mean(kept)) - constraint.sign * constraint.bound if kept else 0.0
            logs.append(min(math.log(highest), self.logs[k] + rate * math.exp(self.logs[k]) * excess))
            recent.append(kept)
        return Multipliers(self.constraints, tuple(logs), tuple(recent))

    def penalised(self, scores: Scores) -> Scores:
        """Scores with every constraint's cost in them. An unknown cost is the window's mean: neither gain nor loss."""
        lam, value = self.values, np.array(scores.value, np.float64)
        for k in range(len(self.constraints)):
            costs = self._costs(scores, k)
            value -= lam[k] * np.where(np.isnan(costs), np.mean(self.recent[k] or (0.0,)), costs)
        whole = 1 + lam.sum()
        return replace(scores, value=value / whole, token=None if scores.token is None else scores.token / whole)

    def metrics(self) -> dict[str, float]:
        """Each multiplier, and the mean of its part over the window, in the part's own units."""
        of_lam = {f"multiplier/{c.key}": float(lam) for c, lam in zip(self.constraints, self.values, strict=True)}
        means = {
            c.key: c.sign * float(np.mean(kept)) for c, kept in zip(self.constraints, self.recent, strict=True) if kept
        }
        return of_lam | {f"constrained/{key}": mean for key, mean in means.items()}

    def state_dict(self) -> dict[str, Any]:
        return {"logs": list(self.logs), "recent": [list(kept) for kept in self.recent]}

    def restored(self, state: dict[str, Any]) -> Multipliers:
        """Those that :meth:`state_dict` told of."""
        return replace(self, logs=tuple(state["logs"]), recent=tuple(tuple(kept) for kept in state["recent"]))

    def _costs(self, scores: Scores, k: int) -> NDArray[np.float64]:
        constraint = self.constraints[k]
        return constraint.sign * part_named(scores, constraint.part, f"--constrain {constraint}")
