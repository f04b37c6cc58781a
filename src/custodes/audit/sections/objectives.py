"""Objectives: what each part of the reward became along the optimisation, and whether the constraints were kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from custodes.audit.heldout import chosen_row
from custodes.audit.overoptimisation import root_kl
from custodes.audit.record import RecordedRun, RunSection
from custodes.audit.rows import PolicyHeldout, Row
from custodes.page import charts, number
from custodes.page.drawing import alt
from custodes.registry import section
from custodes.stats import Interval, mean_interval, paired_difference, rate

SHOWN = 6
"""So many values of a multiplier are said in a sentence."""


@dataclass(frozen=True, kw_only=True)
class ConstraintStep(Row):
    """The constraints at one optimisation step, an entry each; ``subject`` is the arm."""

    NAME = "constraint_step"
    ALIGNED = ("constraint", "part", "bound", "floor", "multiplier", "mean")

    step: int
    largest: float  # that a multiplier may become
    constraint: list[str]  # as it was written
    part: list[str]
    bound: list[float]
    floor: list[bool]  # whether the mean must be at least the bound; else at most
    multiplier: list[float]  # with which this step was made
    mean: list[float]  # of the part over the window, in its own units


@section
class ObjectivesSection(RunSection):
    """Parts against sqrt(KL), the constraints on held-out tasks, and the traces of their multipliers."""

    title = "Objectives and constraints"
    place = 45
    rank = 5
    template = """
{% for arm, o in figures.items() %}{{ arm_title(arm, source.arms) }}
{% if o.points %}
{{ figure(charts.parts[arm], "What each part of the reward gained over the base policy on the same held-out tasks.") }}
<table class="wide-table">
  <thead><tr><th>Step</th><th>KL per episode, nats</th>{% for name in o.names %}<th>{{ name }}</th><th>gained</th>{% endfor %}</tr></thead>
  {% for p in o.points %}<tr{% if p.chosen %} class="chosen"{% endif %}><th scope="row"><span class="narrow">step </span>{{ p.step }}{% if p.chosen %}<small>handed over</small>{% endif %}</th>{{ cell("KL", p.kl) }}{% for name in o.names %}{{ cell(name, p.level[name]) }}{{ cell(name ~ " gained", p.gain[name], "signed") }}{% endfor %}</tr>{% endfor %}
</table>{% endif %}
{% if o.constraints %}
<table class="wide-table">
  <thead><tr><th>Constraint</th><th>Base policy</th><th>Policy handed over</th><th>Kept</th><th>Multiplier, last and highest</th></tr></thead>
  {% for name, c in o.constraints.items() %}<tr><th scope="row">{{ name }}</th>{{ cell("base", c.before) }}{{ cell("handed over", c.after) }}<td data-label="kept">{{ c.kept }}</td><td data-label="multiplier">{{ c.last | number }}, {{ c.highest | number }} of at most {{ c.largest | number }}</td></tr>{% endfor %}
</table>
<div class="small-charts">{% for svg in charts.traces[arm] %}{{ figure(svg) }}{% endfor %}</div>{% endif %}
{% else %}<p class="none">One objective and no constraints.</p>{% endfor %}
"""

    def read(self) -> dict[str, Any]:
        found = {}
        for arm in self.source.arms:
            rows = [row for row in self.source.heldout.get(arm, []) if row.parts]
            constraints = constraint_outcomes(self.source, arm)
            if rows or constraints:
                names = list(rows[0].parts or ()) if rows else []
                found[arm] = {"names": names, "points": _points(rows, names), "constraints": constraints}
        return found

    def claims(self) -> list[str]:
        first = self.figures.get(self.source.arms[0]) if self.source.arms else None
        return constraint_sentences(first["constraints"]) if first else []

    def charts(self) -> dict[str, Any]:
        traces = {}
        for arm, o in self.figures.items():
            held = o["constraints"].items()
            traces[arm] = [
                charts.step_chart({name: c[what] for name, c in held}, title)
                for what, title in (("trace", "Multiplier"), ("means", "Mean over the window"))
                if held
            ]
        return {
            "parts": {arm: _parts_chart(o["points"], o["names"]) for arm, o in self.figures.items()},
            "traces": traces,
        }

    def limits(self) -> list[str]:
        kept = any(o["constraints"] for o in self.figures.values())
        what = "Whether a constraint is kept is told of its mean over held-out tasks, not of every reply."
        return [what] if kept else []


def constraint_outcomes(source: RecordedRun, arm: str) -> dict[str, dict[str, Any]]:
    """Constraint -> what became of it: ``before`` and ``after`` on held-out tasks, whether it was ``kept`` ("yes", "no",
    "cannot be told"), and the ``trace`` of its multiplier and the ``means`` of its part, (step, value) each."""
    steps = sorted(source.rows(ConstraintStep).get(arm, []), key=lambda row: row.step)
    rows = [row for row in source.heldout.get(arm, []) if row.parts]
    found: dict[str, dict[str, Any]] = {}
    for row in steps:
        for k, name in enumerate(row.constraint):
            of_name = found.setdefault(name, {"part": row.part[k], "bound": row.bound[k], "floor": row.floor[k]})
            of_name.setdefault("trace", []).append((row.step, row.multiplier[k]))
            of_name.setdefault("means", []).append((row.step, row.mean[k]))
            of_name["largest"] = row.largest
    for of_name in found.values():
        ends = (rows[0], chosen_row(rows)) if rows else ()
        levels = [part_level(row, of_name["part"]) for row in ends] or [None, None]
        trace = [value for _, value in of_name["trace"]]
        of_name |= {"before": levels[0], "after": levels[1], "last": trace[-1], "highest": max(trace)}
        of_name["kept"] = _kept(levels[1], of_name["bound"], of_name["floor"])
    return found


def _kept(after: Interval | None, bound: float, floor: bool) -> str:
    if after is None:
        return "not recorded"
    low, high = (after.low, after.high) if floor else (-after.high, -after.low)
    limit = bound if floor else -bound
    return "yes" if low >= limit else "no" if high < limit else "cannot be told"


def constraint_sentences(outcomes: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Of each constraint whether it was kept, and how its multiplier went."""
    sentences = []
    for name, c in outcomes.items():
        where = f"{c['part']} is {c['after']} on held-out tasks" if c["after"] else "its part was not recorded"
        verdict = {"yes": "was kept", "no": "was not kept"}.get(
            c["kept"], "may be kept or broken, which cannot be told"
        )
        trace = [value for _, value in c["trace"]]
        some = [trace[int(i)] for i in np.linspace(0, len(trace) - 1, min(SHOWN, len(trace)))]
        at_most = trace[-1] >= c["largest"] * (1 - 1e-9)
        end = ", the largest allowed: it may not be possible to keep it" if at_most and c["kept"] != "yes" else ""
        sentences.append(
            f"The constraint {name} {verdict}: {where}; its multiplier went {', '.join(map(number, some))}{end}."
        )
    return sentences


def part_level(row: PolicyHeldout, name: str) -> Interval | None:
    """The mean of a part over the episodes of which it is known."""
    values = (row.parts or {}).get(name, [])
    known = [(task, value) for task, value in zip(row.task, values, strict=False) if value is not None]
    if len(known) < 2:
        return None
    tasks, numbers = [task for task, _ in known], [value for _, value in known]
    return (rate if set(numbers) <= {0.0, 1.0} else mean_interval)(numbers, tasks)


def _points(rows: Sequence[PolicyHeldout], names: Sequence[str]) -> list[dict[str, Any]]:
    found = []
    for row in rows:
        kl = mean_interval(np.asarray(row.kl))
        found.append(
            {
                "step": row.step,
                "kl": kl,
                "sqrt_kl": float(root_kl(kl.estimate)),
                "chosen": row is chosen_row(rows),
                "level": {name: part_level(row, name) for name in names},
                "gain": {name: part_gain(rows[0], row, name) for name in names},
            }
        )
    return found


def part_gain(base: PolicyHeldout, row: PolicyHeldout, name: str) -> Interval | None:
    """Paired by task, over the tasks whose part is known at both points; exactly 0 for the base itself."""
    before, after = _by_task(base, name), _by_task(row, name)
    both = sorted(before.keys() & after.keys())
    if len(both) < 2:
        return None
    if row is base:
        return Interval(0.0, 0.0, 0.0, len(both))
    return paired_difference([after[task] for task in both], [before[task] for task in both])


def _by_task(row: PolicyHeldout, name: str) -> dict[str, float]:
    values: dict[str, list[float]] = {}
    for task, value in zip(row.task, (row.parts or {}).get(name, []), strict=False):
        if value is not None:
            values.setdefault(task, []).append(value)
    return {task: float(np.mean(of_task)) for task, of_task in values.items()}


def _parts_chart(points: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str:
    """What each part gained against sqrt(KL); "" where there is nothing to draw."""
    scale = alt.Scale(zero=True, nice=False, padding=8)
    x = alt.X("x:Q", title="√KL from the base policy (√nats)", scale=scale, axis=alt.Axis(tickCount=6))
    y, lower = alt.Y("y:Q", title="part gained over base"), alt.Y("low:Q", title="part gained over base")
    layers, ends, heights = [], [], [0.0]
    for k, name in enumerate(names):
        gains = [(p["sqrt_kl"], p["gain"][name]) for p in points if p["gain"][name] is not None]
        rows = [
            charts.interval_span(gain, "y") | {"x": d, "label": name} for d, gain in sorted(gains, key=lambda g: g[0])
        ]
        if not rows:
            continue
        ink, base = charts.INKS[k % len(charts.INKS)], alt.Chart(charts.chart_data(rows)).encode(x=x)
        rule = base.mark_rule(color=ink).encode(y=lower, y2="high:Q")
        layers += [charts.series_line(k, rows).encode(x=x, y=y), rule, charts.point_marks(base, y, ink, k == 0)]
        ends.append(rows[-1])
        heights += [row["y"] for row in rows]
    if not layers:
        return ""
    labels = charts.end_labels(ends, x, y, max(heights) - min(heights))
    chart = alt.layer(*layers, *labels).properties(width=charts.WIDTH, height=charts.HEIGHT)
    return charts.inline_svg(
        chart, "Parts of the reward gained over the base policy, against the square root of the KL.", 74
    )
