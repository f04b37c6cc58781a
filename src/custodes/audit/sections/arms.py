"""The arms side by side: proxy and gold along the steps and over √KL, and gold at the largest √KL that all of them reached."""

from __future__ import annotations

from typing import Any

import numpy as np

from custodes.audit import overoptimisation
from custodes.audit.heldout import gain_over_base, shared_tasks, task_matrix, turn_of_gold
from custodes.audit.record import RunSection
from custodes.audit.sections.optimisation import gain_chart
from custodes.page import number, signed
from custodes.registry import section
from custodes.stats import mean_interval, paired_difference


@section
class ArmsSection(RunSection):
    """Gold by interpolation; differences paired by task, of the first arm from the others."""

    title = "The arms side by side"
    place = 38
    template = """
{% if figures %}
<div class="charts">
{{ figure(charts.proxy_steps, "What the learned reward says was gained on held-out tasks, step by step.") }}
{{ figure(charts.gold_steps, "What was truly gained on the same tasks.") }}
{{ figure(charts.proxy, "The same proxy against the distance from the base policy.") }}
{{ figure(charts.gold, "The same gold. The dotted line is where the arms are compared, by linear interpolation.") }}
</div>
<table class="kv">
  {% for arm, of in figures.settings.items() %}<tr><th scope="row">{{ arm }}, how</th><td>{% for name, value in of.items() %}{{ name.replace("_", " ") }} {{ value }}{{ ", " if not loop.last }}{% endfor %}</td></tr>{% endfor %}
  {% for arm, test in figures.overoptimisation.items() %}<tr><th scope="row">{{ arm }}</th><td>{{ test.sentence }}</td></tr>{% endfor %}
  <tr><th scope="row">Compared at √KL</th><td><b>{{ figures.sqrt_kl | number }}</b><small>the furthest that every arm reached</small></td></tr>
  {% for arm, x in figures.gold.items() %}{{ row("Gold, " ~ arm, x) }}{% endfor %}
  {% for arm, x in figures.difference.items() %}{{ row(figures.first ~ " minus " ~ arm, x, "signed", "paired by task") }}{% endfor %}
</table>
{% else %}<p class="none">There are no two arms with gold to compare.</p>{% endif %}
"""

    def read(self) -> dict[str, Any] | None:
        curves, tests = {}, {}
        for arm, rows in self.source.heldout.items():
            gold = task_matrix(rows, "gold") if len(rows) > 1 else None
            if gold is not None:
                d = overoptimisation.root_kl([np.mean(r.kl) for r in rows])
                curves[arm] = dict(zip(shared_tasks(rows), gold.T, strict=True)), d
                tests[arm] = turn_of_gold(rows)
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
        made = {m.name: dict(m.metadata) for m in self.source.ledger.models(self.source.run.id) if m.kind == "policy"}
        return {
            "settings": {arm: made[name] for arm in values if (name := f"{arm} policy") in made},
            "overoptimisation": tests,
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
        drawn: dict[str, str] = {}
        for which in ("proxy", "gold"):
            by_step: dict[str, Any] = {}
            by_distance: dict[str, Any] = {}
            for arm in self.figures["gold"]:
                rows = self.source.heldout[arm]
                values, distance = task_matrix(rows, which), overoptimisation.root_kl([np.mean(r.kl) for r in rows])
                gains = [gain_over_base(values, i) for i in range(len(rows))]
                by_step[arm] = [(float(r.step), gain) for r, gain in zip(rows, gains, strict=True)], None
                by_distance[arm] = list(zip(map(float, distance), gains, strict=True)), None
            drawn[f"{which}_steps"] = gain_chart(which, by_step, (), "step")
            drawn[which] = gain_chart(which, by_distance, [self.figures["sqrt_kl"]] if which == "gold" else ())
        return drawn
