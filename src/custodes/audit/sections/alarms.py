"""Alarms: what each saw along the optimisation, when it rang, how often it does so without a cause, and how early it was."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from custodes.audit.heldout import task_matrix
from custodes.audit.record import RecordedRun, RunSection
from custodes.audit.rows import PolicyHeldout, Row
from custodes.page import charts, number, percent
from custodes.page.drawing import alt
from custodes.registry import section
from custodes.wording import counted


@dataclass(frozen=True, kw_only=True)
class AlarmsSet(Row):
    """The alarms of a run, an entry each, before its first step; ``subject`` is the arm."""

    NAME = "alarms_set"
    ALIGNED = ("alarm", "tolerance", "acts", "facts", "why_not", "unit", "tells", "cannot")

    level: float  # probability, for each alarm, that it ever rings without a cause
    steps: int  # looks that the run has at most
    alarm: list[str]
    tolerance: list[float]
    acts: list[bool]  # whether it stops the run
    facts: list[dict[str, float]]  # of the base policy
    why_not: list[str]  # in words, why it cannot watch; "" where it does
    unit: list[str]
    tells: list[str]
    cannot: list[str]


@dataclass(frozen=True, kw_only=True)
class AlarmStep(Row):
    """What the alarms said after one step, an entry for each that watches; ``subject`` is the arm."""

    NAME = "alarm_step"
    ALIGNED = ("alarm", "observed", "value", "low", "high", "sight", "rings")

    step: int
    alarm: list[str]
    observed: list[list[float]]  # what each keeps of the step
    value: list[float | None]  # None: nothing can be said yet
    low: list[float | None]  # None: no limit on this side
    high: list[float | None]
    sight: list[str]  # in words
    rings: list[bool]


@section
class AlarmsSection(RunSection):
    """Each alarm along the steps, with its limits; and where gold is known, whether it rang before gold's peak."""

    title = "Alarms"
    place = 42
    rank = 6
    template = """
{% for arm, o in figures.items() %}{{ arm_title(arm, source.arms) }}
{{ figure(charts.strip[arm], "Steps at which each alarm was beyond its limits." ~ (" The line marks the evaluation at which gold was highest." if o.peak is not none else "")) }}
<table class="wide-table">
  <thead><tr><th>Alarm</th><th>Rang at step</th><th>Saw</th><th>Without a cause, in a whole run</th>{% if o.peak is not none %}<th>Steps before gold's peak</th>{% endif %}</tr></thead>
  {% for name, a in o.alarms.items() %}<tr><th scope="row">{{ name }}{% if a.acts %}<small>stops the run</small>{% endif %}</th>
  {% if a.why_not %}<td colspan="{{ 4 if o.peak is not none else 3 }}" data-label="not watched">not watched: {{ a.why_not }}</td>
  {% else %}<td data-label="rang at step">{{ a.rang if a.rang is not none else "never" }}</td><td data-label="saw">{{ a.sight }}</td><td data-label="without a cause">at most {{ o.level | percent }} of runs</td>{% if o.peak is not none %}<td data-label="before gold's peak">{{ a.lead | number if a.lead is not none else "–" }}</td>{% endif %}{% endif %}</tr>
  {% endfor %}
</table>
<div class="small-charts">{% for svg, unit in charts.traces[arm] %}{{ figure(svg, unit) }}{% endfor %}</div>
<details><summary>What each alarm can tell, and what not</summary><ul>
{% for name, a in o.alarms.items() %}<li><b>{{ name }}</b> tells {{ a.tells }}. It cannot tell {{ a.cannot }}.</li>
{% endfor %}</ul></details>
{% else %}<p class="none">No alarms watched.</p>{% endfor %}
"""

    def read(self) -> dict[str, Any]:
        return {arm: figures for arm in self.source.arms if (figures := alarms_of(self.source, arm))}

    def claims(self) -> list[str]:
        named = len(self.figures) > 1
        return [
            f"{f'The {arm} arm: ' if named else ''}{sentence}"
            for arm, figures in self.figures.items()
            for sentence in alarm_sentences(figures)
        ]

    def charts(self) -> dict[str, Any]:
        return {
            "strip": {arm: _strip(o) for arm, o in self.figures.items()},
            "traces": {
                arm: [(_trace(name, a, o["peak"]), a["unit"]) for name, a in o["alarms"].items() if a["trace"]]
                for arm, o in self.figures.items()
            },
        }

    def limits(self) -> list[str]:
        what = (
            "An alarm tells that something changed by more than it tolerates, which a wanted change does too. Its false-alarm rate is "
            "that of a policy which stays within the tolerance."
        )
        return [what] if self.figures else []


def alarms_of(source: RecordedRun, arm: str) -> dict[str, Any]:
    """Of an arm: the ``level``, the step of gold's ``peak`` (None where gold is not known), and of each alarm what it saw."""
    made = source.last(AlarmsSet).get(arm)
    if made is None:
        return {}
    steps = sorted(source.rows(AlarmStep).get(arm, []), key=lambda row: row.step)
    peak = _peak(source.heldout.get(arm, []))
    alarms: dict[str, Any] = {}
    for k, name in enumerate(made.alarm):
        seen = [(row, row.alarm.index(name)) for row in steps if name in row.alarm]
        rings = [(row.step, row.sight[i]) for row, i in seen if row.rings[i]]
        last = next((row.sight[i] for row, i in reversed(seen) if row.value[i] is not None), "nothing yet")
        rang, sight = rings[0] if rings else (None, last)
        alarms[name] = {
            "tolerance": made.tolerance[k],
            "acts": made.acts[k],
            "why_not": made.why_not[k],
            "unit": made.unit[k],
            "tells": made.tells[k],
            "cannot": made.cannot[k],
            "trace": [(r.step, r.value[i], r.low[i], r.high[i]) for r, i in seen if r.value[i] is not None],
            "rings": [step for step, _ in rings],
            "rang": rang,
            "sight": sight,
            "lead": peak - rang if peak is not None and rang is not None else None,
        }
    return {"level": made.level, "steps": steps[-1].step if steps else 0, "peak": peak, "alarms": alarms}


def alarm_sentences(figures: Mapping[str, Any]) -> list[str]:
    """Which alarms rang, on what evidence, and whether one stopped the run; then which were silent."""
    sentences, rate = [], percent(figures["level"])
    for name, a in figures["alarms"].items():
        if a["rang"] is not None:
            lead = "" if a["lead"] is None else f", {_lead(a['lead'])}"
            acted = (
                "and stopped the run: the policy handed over is that of this step" if a["acts"] else "and only watched"
            )
            sentences.append(
                f"The alarm {name} rang at step {a['rang']}{lead}, {acted}. It saw: {a['sight']}. Without a cause it rings in at most {rate} "
                "of runs."
            )
    watched = [name for name, a in figures["alarms"].items() if not a["why_not"]]
    blind = [name for name in watched if not figures["alarms"][name]["trace"]]
    silent = [name for name in watched if figures["alarms"][name]["rang"] is None and name not in blind]
    if blind:
        sentences.append(f"These alarms had too little to judge by: {', '.join(blind)}.")
    if silent:
        sentences.append(
            f"{'No alarm rang' if silent == watched else 'These alarms were silent'}: {', '.join(silent)}."
        )
    return sentences


def _lead(steps: int) -> str:
    return (
        f"{counted(abs(steps), 'step')} {'before' if steps > 0 else 'after'} gold's highest evaluation"
        if steps
        else "at gold's peak"
    )


def _peak(rows: Sequence[PolicyHeldout]) -> int | None:
    """The step of the evaluation with the highest mean gold; None where there are fewer than three with gold."""
    gold = task_matrix(rows, "gold") if len(rows) > 2 else None
    return None if gold is None else rows[int(gold.mean(1).argmax())].step


# ---------------------------------------------------------------- charts


def _axis(figures_steps: int) -> alt.X:
    scale = alt.Scale(domain=[0, max(figures_steps, 1)], nice=False)
    return alt.X("x:Q", title="step", axis=alt.Axis(tickCount=5, tickMinStep=1, format="d"), scale=scale)


def _strip(figures: Mapping[str, Any]) -> str:
    """A row for each alarm along the steps: a line while it watched, and marks where it was beyond its limits."""
    watched = {name: a for name, a in figures["alarms"].items() if not a["why_not"]}
    if not watched:
        return ""
    x = _axis(figures["steps"])
    y = alt.Y("alarm:N", title=None, sort=list(watched), axis=alt.Axis(ticks=False, domain=False, labelPadding=8))
    lines: charts.Rows = [{"alarm": name, "x": 0, "end": figures["steps"]} for name in watched]
    marks: charts.Rows = [{"alarm": name, "x": step} for name, a in watched.items() for step in a["rings"]]
    layers = [alt.Chart(charts.chart_data(lines)).mark_rule(color=charts.GREY).encode(x=x, x2="end:Q", y=y)]
    if marks:
        ticks = alt.Chart(charts.chart_data(marks)).mark_tick(color=charts.RUST, thickness=3, height=14)
        layers.append(ticks.encode(x=x, y=y))
    if figures["peak"] is not None:
        layers.append(charts.vertical_rule(figures["peak"], charts.BLUE, "step", [4, 3]))
    chart = alt.layer(*layers).properties(width=charts.WIDTH, height=alt.Step(24))
    return charts.inline_svg(chart, f"Steps at which each of {len(watched)} alarms was beyond its limits.")


def _trace(name: str, of_alarm: Mapping[str, Any], peak: int | None) -> str:
    """What one alarm saw, between its limits."""
    trace = of_alarm["trace"]
    x = _axis(trace[-1][0])
    y = alt.Y("y:Q", title=None, axis=alt.Axis(tickCount=4, minExtent=38), scale=alt.Scale(zero=False, nice=True))
    layers = [charts.series_line(0, [{"x": step, "y": value} for step, value, _, _ in trace]).encode(x=x, y=y)]
    for side in (2, 3):
        limits = [{"x": of_step[0], "y": of_step[side]} for of_step in trace if _finite(of_step[side])]
        if limits:
            layers.append(charts.series_line(2, limits).encode(x=x, y=y))
    if of_alarm["rang"] is not None:
        layers.append(charts.vertical_rule(of_alarm["rang"], charts.RUST, "step"))
    if peak is not None and peak <= trace[-1][0]:
        layers.append(charts.vertical_rule(peak, charts.BLUE, "step", [4, 3]))
    rang = "never" if of_alarm["rang"] is None else f"at step {of_alarm['rang']}"
    about = f"{of_alarm['unit']} along the steps; its limits are dashed; the alarm {name} rang {rang}; last {number(trace[-1][1])}."
    return charts.inline_svg(alt.layer(*layers).properties(width=235, height=100, title=name), about)


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
