"""The reward: how far it can be believed, on held-out judged pairs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from custodes.audit import calibration, hacking
from custodes.audit.record import ArmSection
from custodes.audit.rows import Row
from custodes.page import Tile, percent
from custodes.page.charts import reliability_chart
from custodes.registry import section
from custodes.stats import Interval, calibration_curve, calibration_error, mean_interval, rate


@dataclass(frozen=True, kw_only=True)
class RewardHeldout(Row):
    """The reward on held-out judged pairs, one entry per pair; ``subject`` is the arm.

    ``margin`` is raw: reward of the first shown minus reward of the second; P(first better) is
    sigmoid(margin) before and sigmoid(margin / temperature) after calibration. ``calibrated_on`` is true for
    the pairs that ``temperature`` was fitted on: calibration is measured on the others, what asks only which
    is better on all. ``outcome`` is 1 where the first was preferred and 0 where the second was; pairs without
    a preference are left out.
    """

    NAME: ClassVar[str] = "reward_heldout"
    ALIGNED = ("margin", "outcome", "length_difference", "spread", "gold_difference", "task", "calibrated_on")

    margin: list[float]
    outcome: list[int]
    length_difference: list[int]  # tokens of the first minus tokens of the second
    temperature: float = 1.0
    spread: list[float] | None = None  # standard deviation of the margin over the ensemble's members
    gold_difference: list[float] | None = None
    members: int = 1
    model: str = ""  # content hash of the reward
    task: list[str] | None = None  # pairs of one task depend on each other
    calibrated_on: list[bool] | None = None


@section
class RewardsSection(ArmSection):
    """Accuracy, calibration, length and disagreement of each arm's reward."""

    title = "The reward"
    place = 30
    rank = 10
    what = "held-out judgments of the reward"
    template = """
{% for arm, r in figures.items() %}{{ arm_title(arm, source.arms) }}
<div class="beside">
<table class="kv">
  {{ row("Agrees with the judges", r.accuracy, "percent", "held-out pairs; n counts their tasks") }}
  {{ row("Prefers the truly better", r.gold_accuracy, "percent", "pairs whose gold differs; n counts their tasks") }}
  {{ row("Calibration error, raw", r.ece_before, note="pairs that the temperature was not fitted on") }}
  {{ row("Calibration error, calibrated", r.ece_after, note="temperature " ~ (r.temperature | number)) }}
  {% if r.length %}{{ row("Correlation with length", r.length.correlation, "signed", "Spearman, of reward and length differences") }}
  {{ row("Right where the longer was preferred", r.length.longer, "percent") }}
  {{ row("Right where the shorter was preferred", r.length.shorter, "percent") }}
  {{ row("Balanced over both halves", r.length.balanced, "percent", "counting tokens alone gives 50 %") }}
  {{ row("Judges preferred the longer", r.length.judges, "percent") }}{% else %}<tr><th scope="row">Length</th><td class="none">not recorded</td></tr>{% endif %}
  {% if r.spread %}{{ row("Disagreement of " ~ r.members ~ " members", r.spread.all, note="standard deviation of the margin") }}
  {{ row("… on pairs it got right", r.spread.right) }}{{ row("… on pairs it got wrong", r.spread.wrong) }}
  {% else %}<tr><th scope="row">Disagreement of members</th><td class="none">not recorded{% if r.members == 1 %} (a single model){% endif %}</td></tr>{% endif %}
</table>
{{ figure(charts[arm], "Stated confidence against the share that was right. On the grey line both are equal; below it the reward is too sure of itself.") }}
</div>
{% else %}{{ absent("Held-out judgments of the reward") }}{% endfor %}
"""

    def read_arm(self, arm: str) -> dict[str, Any] | None:
        row = self.source.last(RewardHeldout).get(arm)
        if row is None or not row.n:
            return None
        right = calibration.agrees(row.margin, 2 * np.asarray(row.outcome) - 1)
        apart = np.ones(row.n, bool) if row.calibrated_on is None else ~np.asarray(row.calibrated_on, bool)
        margin, right_apart = np.asarray(row.margin)[apart], right[apart]
        task = None if row.task is None else np.asarray(row.task)[apart].tolist()
        stated = {
            "before": calibration.confidence(margin),
            "after": calibration.confidence(margin, row.temperature),
        }
        length = hacking.length_audit(row.margin, row.outcome, row.length_difference, row.task)
        return {
            "accuracy": rate(right, row.task),
            "gold_accuracy": _gold_accuracy(row),
            "temperature": row.temperature,
            **{f"ece_{name}": calibration_error(p, right_apart, calibration.BINS, task) for name, p in stated.items()},
            **{f"diagram_{name}": calibration_curve(p, right_apart, calibration.BINS) for name, p in stated.items()},
            "length": vars(length) if length else None,
            "spread": _spread(row, right),
            "members": row.members,
            "model": row.model or None,
        }

    def headline(self) -> dict[str, Any]:
        a = self.first["accuracy"] if self.first else None
        interval = None if a is None else [a.low, a.high]
        return {"reward_accuracy": None if a is None else a.estimate, "reward_accuracy_interval": interval}

    def tiles(self) -> list[Tile]:
        label = "Reward agrees with judges"
        if not self.first:
            return [Tile(label, None)]
        a = self.first["accuracy"]
        bounds = f"[{percent(a.low)}, {percent(a.high)}], n = {a.n:,} held-out tasks"
        return [Tile(label, percent(a.estimate), bounds)]

    def claims(self) -> list[str]:
        if not self.first:
            return []
        a = self.first["accuracy"]
        return [
            f"The learned reward agrees with the judges on {percent(a.estimate)} of the held-out pairs"
            f" (95 % interval {percent(a.low)} to {percent(a.high)}, {a.n:,} tasks)."
        ]

    def charts(self) -> dict[str, str]:
        return {
            arm: reliability_chart(
                {"raw": r["diagram_before"], "after temperature": r["diagram_after"]},
                "stated confidence",
                "share that was right",
                lowest=0.5,
            )
            for arm, r in self.figures.items()
        }

    def missing_of(self, figures: Mapping[str, Any]) -> list[str]:
        return ["an ensemble (disagreement of rewards)"] if figures["spread"] is None else []


def _gold_accuracy(row: RewardHeldout) -> Interval | None:
    """Share of pairs whose gold differs in which the reward prefers the truly better one."""
    if row.gold_difference is None:
        return None
    gold, margin = np.asarray(row.gold_difference), np.asarray(row.margin)
    known = gold != 0
    if not known.any():
        return None
    right = calibration.agrees(margin[known], gold[known])
    return rate(right, None if row.task is None else np.asarray(row.task)[known].tolist())


def _spread(row: RewardHeldout, right: NDArray[np.float64]) -> dict[str, Any] | None:
    """Ensemble disagreement on the pairs that the reward got right, and wrong: it should be larger on the wrong."""
    if row.spread is None or row.members < 2:
        return None
    spread = np.asarray(row.spread, float)
    task = np.asarray(row.task if row.task is not None else range(row.n))
    groups = {"all": right >= 0, "right": right == 1, "wrong": right == 0}
    return {
        name: mean_interval(spread[of], task[of].tolist()) if name == "all" or of.sum() > 1 else None
        for name, of in groups.items()
    }
