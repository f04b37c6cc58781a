"""``report.html`` and ``report.json`` of a study of scaling: what more training examples bring."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from custodes.job.recording import folder_head
from custodes.page import Report, Section, charts, number, save_report
from custodes.page.drawing import alt
from custodes.stats import Interval


def write_scaling_page(study: Mapping[str, Any], folder: Path) -> Path:
    """Write the study of scaling. Raises InputError where ``folder`` cannot be written."""
    report = Report(
        kind="Custodes · critics by training examples",
        title="What more training examples bring",
        subtitle=f"{study['data']} · {study['model']} · {len(study['sizes'])} sizes, drawn by one seed",
        about="The curve is 1 − a · examples⁻ᵇ, fitted to what was measured. The interval of b is a bootstrap over"
        " functions. Intervals are at 95 %.",
        sections=[
            _ScalingSection(measures, f"split-{k}", split)
            for k, (split, measures) in enumerate(study["splits"].items())
        ],
        head=folder_head(folder),
    )
    return save_report(report, folder / "report.html", (folder / "report.json", study))


class _ScalingSection(Section[Mapping[str, Any]]):
    """One split: each measure at every size, and the fitted curve."""

    template = """
<div class="charts">
{% for name, measure in source.items() %}
{{ figure(charts[name], section.caption(measure)) }}
{% endfor %}
</div>
{{ intervals(source.values() | map(attribute="title") | list, figures, corner="examples") }}
"""

    def read(self) -> list[tuple[str, list[Any]]]:
        """The rows of the table, one for each size."""
        columns = [measure["points"] for measure in self.source.values()]
        return [(number(points[0]["examples"]), list(points)) for points in zip(*columns, strict=True)]

    def charts(self) -> dict[str, str]:
        return {name: _scaling_chart(m["points"], m["curve"], m["title"]) for name, m in self.source.items()}

    @staticmethod
    def caption(measure: Mapping[str, Any]) -> str:
        """The fitted exponent in a sentence."""
        title, b = measure["title"], Interval.from_dict(measure["exponent"])
        fitted = "no curve could be fitted" if math.isnan(b.estimate) else f"exponent b = {b}, n counts functions"
        return f"{title[0].upper()}{title[1:]}: {fitted}."


def _scaling_chart(points: Sequence[Mapping[str, Any]], curve: Sequence[Mapping[str, float]], title: str) -> str:
    """A measure against training examples, with the fitted curve. ``points`` have examples, estimate, low and high."""
    rows = [dict(p) for p in points]
    axis = alt.Axis(values=[r["examples"] for r in rows], format=",")
    x = alt.X("examples:Q", title="training examples", scale=alt.Scale(type="log", nice=False, padding=14), axis=axis)
    top = max([r["high"] for r in rows] + [f["value"] for f in curve])
    scale = alt.Scale(domain=[0, float(min(1.0, np.ceil(top * 10 + 0.5) / 10))])
    y = alt.Y("estimate:Q", title=title, scale=scale, axis=alt.Axis(format=".0%"))
    base = alt.Chart(charts.chart_data(rows)).encode(x=x)
    layers = [
        base.mark_rule(color=charts.INK).encode(y=alt.Y("low:Q", title=title), y2="high:Q"),
        charts.point_marks(base, y, charts.INK, filled=True),
    ]
    if curve:
        line = alt.Chart(charts.chart_data([dict(f) for f in curve])).mark_line(color=charts.GREY, strokeDash=[4, 3])
        layers.insert(0, line.encode(x=x, y=alt.Y("value:Q", title=title)))
    return charts.inline_svg(
        alt.layer(*layers), f"{title} against the number of training examples, at {len(rows)} sizes."
    )
