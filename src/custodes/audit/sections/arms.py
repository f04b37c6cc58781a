"""Arms at equal KL: gold at the largest √KL that all of them reached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import numpy as np

from custodes.audit import overoptimisation
from custodes.audit.heldout import gain_over_base, shared_tasks, task_matrix
from custodes.audit.record import RunSection
from custodes.audit.rows import PolicyHeldout
from custodes.audit.sections.optimisation import DISTANCE, gain_axes
from custodes.page import charts, number, signed
from custodes.registry import section
from custodes.stats import mean_interval, paired_difference


@section
class ArmsSection(RunSection):
    """Gold by interpolation; differences paired by task, of the first arm from the others."""

    title = "The arms at equal KL"
    place = 70
    template = """
{% if figures %}
<div class="beside">
<table class="kv">
  <tr><th scope="row">Compared at √KL</th><td><b>{{ figures.sqrt_kl | number }}</b><small>the furthest that every arm reached</small></td></tr>
  {% for arm, x in figures.gold.items() %}{{ row("Gold, " ~ arm, x) }}{% endfor %}
  {% for arm, x in figures.difference.items() %}{{ row(figures.first ~ " minus " ~ arm, x, "signed", "paired by task") }}{% endfor %}
</table>
{{ figure(charts.arms, "Gold gained on the same held-out tasks. The dotted line is where the arms are compared, by linear interpolation.") }}
</div>
{% else %}<p class="none">There are no two arms with gold to compare.</p>{% endif %}
"""

    def read(self) -> dict[str, Any] | None:
        curves = {}
        for arm, rows in self.source.heldout.items():
            gold = task_matrix(rows, "gold") if len(rows) > 1 else None
            if gold is not None:
                d = np.sqrt(np.maximum([np.mean(r.kl) for r in rows], 0))
                curves[arm] = dict(zip(shared_tasks(rows), gold.T, strict=True)), d
        if len(curves) < 2:
            return None
        at = min(float(d.max()) for _, d in curves.values())
        shared = sorted(set.intersection(*(set(by_task) for by_task, _ in curves.values())))
        if len(shared) < 2:
            return None
        values = {
            arm: overoptimisation.value_at(d, np.stack([t[k] for k in shared], 1), at) for arm, (t, d) in curves.items()
        }
        first = next(iter(values))
        return {
            "sqrt_kl": at,
            "gold": {arm: mean_interval(v) for arm, v in values.items()},
            "first": first,
            "difference": {arm: paired_difference(values[first], v) for arm, v in values.items() if arm != first},
        }

    def claims(self) -> list[str]:
        if not self.figures:
            return []
        first, parts = self.figures["first"], []
        for other, d in self.figures["difference"].items():
            bounds = f"gold {signed(d.estimate)}, 95 % interval {signed(d.low)} to {signed(d.high)}"
            if d.low <= 0 <= d.high:
                parts.append(f"{first} and {other} are not clearly different ({bounds})")
            else:
                parts.append(f"{first} is {'better' if d.estimate > 0 else 'worse'} than {other} ({bounds})")
        return [f"At equal KL (√KL = {number(self.figures['sqrt_kl'])}) {'; '.join(parts)}."]

    def charts(self) -> dict[str, str]:
        if not self.figures:
            return {}
        curves = {arm: self.source.heldout[arm] for arm in self.figures["gold"]}
        return {"arms": _arms_chart(curves, self.figures["sqrt_kl"])}


def _arms_chart(curves: Mapping[str, Sequence[PolicyHeldout]], at: float) -> str:
    """Gold gained by each arm against sqrt(KL); the distance at which the arms are compared is marked."""
    x, y, lower = gain_axes("gold gained over base")
    layers: list[alt.Chart] = []
    ends: charts.Rows = []
    heights: list[float] = []
    for k, (arm, points) in enumerate(curves.items()):
        gold, distance = task_matrix(points, "gold"), np.sqrt(np.maximum([np.mean(p.kl) for p in points], 0))
        gains = [gain_over_base(gold, i) for i in range(len(points))]
        rows = [
            charts.interval_span(gain, "y") | {"x": float(d), "label": arm}
            for gain, d in zip(gains, distance, strict=True)
            if gain
        ]
        rows.sort(key=lambda r: r["x"])
        ink, base = charts.INKS[k % len(charts.INKS)], alt.Chart(charts.chart_data(rows)).encode(x=x)
        layers.append(charts.series_line(k, rows).encode(x=x, y=y))
        layers.append(base.mark_rule(color=ink).encode(y=lower, y2="high:Q"))
        layers.append(charts.point_marks(base, y, ink, filled=k == 0))
        ends.append(rows[-1])
        heights += [r["y"] for r in rows]
    layers.append(charts.vertical_rule(at, charts.GREY, DISTANCE, [2, 2]))
    labels = charts.end_labels(ends, x, y, max(heights) - min(heights))
    chart = alt.layer(*layers, *labels).properties(width=charts.WIDTH, height=charts.HEIGHT)
    return charts.inline_svg(chart, "Gold reward gained by each arm against the square root of the KL.", 74)
