"""How subtle bugs are, operator by operator, and whether one file's are subtler than another's: ``custodes critic subtlety``.

With ``--against`` the adversarial step is measured: the bugs that ``custodes critic select`` kept against those that it chose
from, seen by the same discriminator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from custodes.critic.lines import LineScores, ScoresLines
from custodes.critic.subtlety import subtlety, told
from custodes.lm.loading import DtypeName
from custodes.recipes.critic_lines import open_scorer
from custodes.recipes.critic_report import Case, Remembered, read_cases
from custodes.recipes.reward_from_file import select_rows
from custodes.stats import Interval, auc, wilson
from custodes.types import InputError

RESAMPLES = 499


@dataclass(frozen=True, kw_only=True)
class CriticSubtlety:
    """How subtle each operator's bugs are to a scorer of lines."""

    data: Path
    """Rows that `custodes critic tamper` or `select` made, JSON Lines."""
    critic: str = "likelihood"
    """The discriminator: folder of a trained scorer of lines, shipped (the one that comes with Custodes), or likelihood."""
    model: str = "smollm2-135m"
    """The model of likelihood; the base of a critic, where it is not the one that its folder names."""
    split: str = ""
    """Only rows of this split; all where empty."""
    rows: str = ""
    """Use rows FIRST:END of these only, counted from 0 and without END, e.g. 0:300."""
    against: Path | None = None
    """Another file of such rows, for example what was selected from."""
    dtype: DtypeName = "auto"
    """Precision of computation."""


def critic_subtlety(config: CriticSubtlety) -> dict[str, Any]:
    """Areas under the ROC curve and localisation, for all bugs and by operator. Raises InputError for rows that are none."""
    scorer = Remembered(open_scorer(config.critic, config.model, config.dtype))
    cases, scores = _scored(config, config.data, scorer)
    operators = [c.operators for c in cases]
    found = subtlety(scores, [c.lines for c in cases], operators)
    result = {**_whole(cases, scores), "operators": told(found)}
    if config.against is not None:
        others, their = _scored(config, config.against, scorer)
        difference = {
            name: _difference(_values(cases, scores, name), _values(others, their, name)).to_dict()
            for name in ("discrimination", "at_1")
        }
        result |= {"against": config.against.name, "difference": difference, "other": _whole(others, their)["all"]}
    return result


def _scored(config: CriticSubtlety, path: Path, scorer: ScoresLines) -> tuple[list[Case], list[LineScores]]:
    cases = [c for c in read_cases(path) if not config.split or c.row.split == config.split]
    if not cases:
        raise InputError(f"{path} has no row of split {config.split!r}.")
    cases = select_rows(cases, config.rows, path.name)
    if all(c.lines for c in cases) or not any(c.lines for c in cases):
        raise InputError(f"{path}: subtlety needs both clean functions and functions with bugs.")
    return cases, scorer.scores([c.row.bug.code for c in cases])


def _whole(cases: Sequence[Case], scores: Sequence[LineScores]) -> dict[str, Any]:
    hits = _values(cases, scores, "at_1")[0]
    area = auc([1 - s.none for s in scores], [bool(c.lines) for c in cases])
    return {"all": {"discrimination": area.to_dict(), "at_1": wilson(int(hits.sum()), len(hits)).to_dict()}}


def _values(cases: Sequence[Case], scores: Sequence[LineScores], name: str) -> tuple[np.ndarray, np.ndarray]:
    """What the measure needs: of functions with bugs, and of clean ones (for the area alone)."""
    if name == "at_1":
        hits = [float(s.order()[0] in c.lines) for c, s in zip(cases, scores, strict=True) if c.lines]
        return np.array(hits), np.zeros(0)
    alarm = np.array([1 - s.none for s in scores])
    with_bug = np.array([bool(c.lines) for c in cases])
    return alarm[with_bug], alarm[~with_bug]


def _difference(mine: tuple[np.ndarray, np.ndarray], theirs: tuple[np.ndarray, np.ndarray]) -> Interval:
    """Of the two measures, with a percentile bootstrap that draws bugs and clean functions of each file apart."""
    draw = np.random.default_rng(0)

    def value(pair: tuple[np.ndarray, np.ndarray]) -> float:
        bugs, clean = pair
        if not len(clean):
            return float(bugs.mean())
        return auc(np.concatenate(pair), np.repeat([1.0, 0.0], [len(bugs), len(clean)])).estimate

    def again(pair: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        bugs, clean = (draw.choice(x, len(x)) if len(x) else x for x in pair)
        return bugs, clean

    drawn = [value(again(mine)) - value(again(theirs)) for _ in range(RESAMPLES)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Interval(value(mine) - value(theirs), float(low), float(high), len(mine[0]))
