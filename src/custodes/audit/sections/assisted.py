"""Assisted labels: a reward from judges alone beside one from judges with a critic's findings, in equal minutes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from custodes.audit.heldout import chosen_row
from custodes.audit.record import RecordedRun, RunSection
from custodes.audit.rows import Row
from custodes.page import duration
from custodes.registry import section
from custodes.stats import Interval, paired_difference, rate

ALONE, ASSISTED = "alone", "assisted"


@dataclass(frozen=True, kw_only=True)
class AssistedLabels(Row):
    """One arm's labels, and what its reward says of held-out pairs; ``subject`` is the arm, "alone" or "assisted".

    The pairs are the same in both arms: any two answers to a held-out task whose gold differs.
    """

    NAME = "assisted_labels"
    ALIGNED = ("task", "right")

    critic: dict[str, float]  # catch, helped, misled, reading
    comparisons: int  # that the reward learned from
    seconds: float  # that these took
    decided: int  # comparisons, of two answers with different gold, in which somebody preferred one
    decided_right: int  # the better one
    task: list[str]
    right: list[float]  # whether the reward puts the better answer first; 0.5 for equal scores


@section
class AssistedSection(RunSection):
    """Labels, held-out accuracy and the policy's gold without and with help, and their paired differences."""

    title = "Labels with a critic's help"
    place = 36
    rank = 4
    template = """
{% if figures %}{% for sentence in figures.sentences %}<p>{{ sentence }}</p>{% endfor %}
<table class="wide-table">
  <thead><tr><th>Judges</th><th>Comparisons</th><th>Time</th><th>Labels that are right</th><th>Reward right on held-out pairs</th><th>Policy's gold gained</th></tr></thead>
  {% for arm, a in figures.arms.items() %}<tr><th scope="row">{{ arm }}</th><td data-label="comparisons">{{ a.comparisons | number }}</td><td data-label="time">{{ a.time }}</td>{{ cell("labels right", a.labels) }}{{ cell("held-out accuracy", a.accuracy) }}{{ cell("gold gained", a.gold, "signed") }}</tr>{% endfor %}
</table>{% else %}<p class="none">No judge had help.</p>{% endif %}
"""

    def read(self) -> dict[str, Any]:
        rows = self.source.last(AssistedLabels)
        if not {ALONE, ASSISTED} <= rows.keys():
            return {}
        arms = {
            arm: {
                "comparisons": rows[arm].comparisons,
                "time": duration(rows[arm].seconds),
                "labels": _rate(
                    [1.0] * rows[arm].decided_right + [0.0] * (rows[arm].decided - rows[arm].decided_right)
                ),
                "accuracy": _rate(rows[arm].right, rows[arm].task),
                "gold": _gold(self.source, arm),
            }
            for arm in (ALONE, ASSISTED)
        }
        differences = {
            "accuracy": paired_difference(rows[ASSISTED].right, rows[ALONE].right, rows[ALONE].task)
            if len(set(rows[ALONE].task)) > 1
            else None,
            "gold": _gold_difference(self.source),
        }
        return {
            "arms": arms,
            "critic": rows[ALONE].critic,
            "differences": differences,
            "sentences": _sentences(rows, differences),
        }

    def claims(self) -> list[str]:
        return list(self.figures["sentences"][1:]) if self.figures else []

    def limits(self) -> list[str]:
        return (
            ["Judges and critic were simulated: how much help is worth depends on their assumed rates."]
            if self.figures
            else []
        )


def _sentences(rows: Mapping[str, AssistedLabels], differences: Mapping[str, Interval | None]) -> list[str]:
    critic = rows[ALONE].critic
    told = [
        f"Simulated judges see a bug with probability {critic['catch']:g} alone and {critic['helped']:g} with a critic's findings, "
        f"and believe a false finding about a sound check with {critic['misled']:g}. Findings take {critic['reading']:g} s to read, "
        "and both kinds of judges have the same minutes."
    ]
    for name, what in (("accuracy", "accuracy on held-out pairs"), ("gold", "the policy's held-out gold")):
        difference = differences[name]
        if difference is not None:
            verdict = "raises" if difference.low > 0 else "lowers" if difference.high < 0 else "may raise or lower"
            told.append(f"A critic's help {verdict} {what}: assisted minus alone is {difference}, paired.")
    return told


def _rate(hits: Sequence[float], clusters: Sequence[str] | None = None) -> Interval | None:
    return rate(hits, clusters) if len(hits) > 1 else None


def _gold(source: RecordedRun, arm: str) -> Interval | None:
    """What the policy that is handed over gained in gold over the base policy."""
    rows = [row for row in source.heldout.get(arm, []) if row.gold is not None]
    if len(rows) < 2:
        return None
    after, before = (_by_task(row) for row in (chosen_row(rows), rows[0]))
    both = sorted(after.keys() & before.keys())
    return paired_difference([after[t] for t in both], [before[t] for t in both]) if len(both) > 1 else None


def _gold_difference(source: RecordedRun) -> Interval | None:
    """Gold of the assisted arm's policy minus that of the other, on the same tasks."""
    chosen = [[row for row in source.heldout.get(arm, []) if row.gold is not None] for arm in (ASSISTED, ALONE)]
    if not all(len(rows) > 1 for rows in chosen):
        return None
    helped, alone = (_by_task(chosen_row(rows)) for rows in chosen)
    both = sorted(helped.keys() & alone.keys())
    return paired_difference([helped[t] for t in both], [alone[t] for t in both]) if len(both) > 1 else None


def _by_task(row: Any) -> dict[str, float]:
    values: dict[str, list[float]] = {}
    for task, gold in zip(row.task, row.gold, strict=True):
        values.setdefault(task, []).append(gold)
    return {task: float(np.mean(of_task)) for task, of_task in values.items()}
