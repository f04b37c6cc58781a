"""Charts as SVG inside a page, drawn by altair and vl-convert without a browser or a network.

Every chart can be read in black and white: series differ by dash and by filled or hollow marks of different shapes, and
lines are named at their ends. Inks are few and fixed, so that the page's style sheet can restate them for a dark screen.
"""

from __future__ import annotations

import hashlib
import html
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import vl_convert

from custodes.page.drawing import alt
from custodes.stats import CalibrationBin, Interval

Rows = list[dict[str, Any]]
INK, GREY, GRID, BLUE, RUST, HOLLOW = "#1c1c1c", "#6e6e6e", "#e2e2e2", "#1f5a96", "#b4511b", "#ffffff"
INKS = (BLUE, RUST, GREY)
DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3])
FONT = "Helvetica, Arial, 'Liberation Sans', sans-serif"
WIDTH, HEIGHT = 325, 220  # of the plot; with axes and labels a chart stays readable on a narrow screen


def inline_svg(chart: Any, title: str, right: int = 26) -> str:
    """The chart as an <svg> element that scales with the page; ``title`` is for screen readers, ``right`` room for labels.

    Its ids differ from those of every other chart of the page.
    """
    given = chart.to_dict(validate=False)
    sized = chart.properties(**{k: v for k, v in (("width", WIDTH), ("height", HEIGHT)) if k not in given})
    styled = (
        sized.configure(background="transparent", font=FONT, padding={"left": 10, "right": right, "top": 6, "bottom": 4})
        .configure_view(stroke=None)
        .configure_axis(
            labelColor=INK, titleColor=INK, labelFontSize=12, titleFontSize=12, titleFontWeight="normal",
            gridColor=GRID, domainColor=GREY, tickColor=GREY, titlePadding=8, labelLimit=200,
        )
        .configure_text(fontSize=12)
        .configure_legend(labelFontSize=12, labelColor=INK)
        .configure_title(fontSize=12, fontWeight="bold", anchor="start", color=INK, offset=8)
    )  # fmt: skip
    svg = vl_convert.vegalite_to_svg(styled.to_dict(validate=False))
    own = hashlib.sha256(svg.encode()).hexdigest()[:8]
    svg = re.sub(r'\b(id="|url\(#|href="#)', rf"\g<1>c{own}-", svg)
    label = html.escape(title)
    return re.sub(r"<svg ([^>]*)>", rf'<svg role="img" aria-label="{label}" \1><title>{label}</title>', svg, count=1)


def reliability_chart(series: Mapping[str, Sequence[CalibrationBin]], stated: str, observed: str, lowest: float) -> str:
    """Observed share against stated probability, a line for each series; on the diagonal both are equal.

    ``stated`` and ``observed`` title the axes, ``lowest`` is where both can begin. The last series is filled.
    """
    rows = [
        interval_span(b.observed, "y") | {"x": b.predicted, "series": name}
        for name, bins in series.items()
        for b in bins
    ]
    low = min([lowest, *(r["low"] - 0.02 for r in rows)]) if lowest else 0.0
    x = alt.X("x:Q", title=stated, scale=alt.Scale(domain=[lowest, 1]), axis=alt.Axis(format=".0%", tickCount=6))
    scale = alt.Scale(domain=[low, 1], nice=False)
    y = alt.Y("y:Q", title=observed, scale=scale, axis=alt.Axis(format=".0%", tickCount=6))
    base = alt.Chart(chart_data(rows)).encode(x=x)
    dashes = (DASHES[1], DASHES[0]) if len(series) > 1 else ()
    lines = [
        base.transform_filter(alt.datum.series == name)
        .mark_line(color=INK, strokeDash=dash, strokeWidth=1.4)
        .encode(y=y)
        for name, dash in zip(series, dashes, strict=False)
    ]
    marks = named_marks(base, list(series)).encode(y=y)
    diagonal = alt.Chart(chart_data([{"x": lowest, "y": lowest}, {"x": 1, "y": 1}])).mark_line(
        color=GREY, strokeWidth=1
    )
    spans = base.mark_rule(color=GREY).encode(y=alt.Y("low:Q", title=observed), y2="high:Q")
    return inline_svg(alt.layer(diagonal.encode(x=x, y=y), spans, *lines, marks), f"{observed}, against {stated}.")


def step_chart(series: Mapping[str, Sequence[tuple[float, float]]], title: str) -> str:
    """One quantity along the optimisation steps, (step, value) for each line, in the manner of :func:`series_key`."""
    x = alt.X("x:Q", title="step", axis=alt.Axis(tickCount=5, tickMinStep=1, format="d"), scale=alt.Scale(nice=False))
    y = alt.Y("y:Q", title=None, axis=alt.Axis(tickCount=4, minExtent=38), scale=alt.Scale(zero=False, nice=True))
    layers = [
        series_line(k, [{"x": step, "y": value} for step, value in line]).encode(x=x, y=y)
        for k, line in enumerate(series.values())
        if line
    ]
    return inline_svg(alt.layer(*layers).properties(width=235, height=100, title=title), f"{title} along the steps.")


def series_key(names: Sequence[str]) -> str:
    """Which line is which, as one small SVG."""
    layers = []
    for k, name in enumerate(names):
        base, left = alt.Chart(chart_data([{"name": name}])), 120 * k
        rule = base.mark_rule(color=INKS[k % len(INKS)], strokeDash=DASHES[k % len(DASHES)], strokeWidth=1.8)
        layers.append(rule.encode(x=alt.value(left), x2=alt.value(left + 30), y=alt.value(8)))
        text = base.mark_text(align="left", color=INK)
        layers.append(text.encode(x=alt.value(left + 36), y=alt.value(8), text="name:N"))
    return inline_svg(alt.layer(*layers).properties(width=120 * len(names), height=16), f"Key: {', '.join(names)}.")


# ---------------------------------------------------------------- pieces


def chart_data(rows: Rows) -> alt.Data:
    return alt.Data(values=rows)


def interval_span(interval: Interval, name: str) -> dict[str, Any]:
    """An interval as a row: the estimate under ``name``, and ``low`` and ``high``, which without bounds are the estimate."""
    low, high = (bound if np.isfinite(bound) else interval.estimate for bound in (interval.low, interval.high))
    return {name: interval.estimate, "low": low, "high": high}


def series_line(k: int, rows: Rows) -> alt.Chart:
    """The line of series ``k``, without its encoding."""
    dash, ink = DASHES[k % len(DASHES)], INKS[k % len(INKS)]
    return alt.Chart(chart_data(rows)).mark_line(color=ink, strokeDash=dash, strokeWidth=1.6)


def point_marks(base: alt.Chart, y: alt.Y, ink: str, filled: bool) -> alt.Chart:
    fill, shape = (ink, "circle") if filled else (HOLLOW, "square")
    return base.mark_point(size=44, stroke=ink, fill=fill, shape=shape, strokeWidth=1.4, opacity=1).encode(y=y)


def named_marks(base: alt.Chart, names: Sequence[str], field: str = "series") -> alt.Chart:
    """Points of up to two series with their legend: hollow squares, then filled circles. One series has filled circles."""
    shapes, fills = (["square", "circle"], [HOLLOW, INK]) if len(names) > 1 else (["circle"], [INK])
    legend = chart_legend() if len(names) > 1 else None
    return base.mark_point(size=52, stroke=INK, strokeWidth=1.4, opacity=1).encode(
        shape=alt.Shape(f"{field}:N", scale=alt.Scale(domain=list(names), range=shapes), legend=legend),
        fill=alt.Fill(f"{field}:N", scale=alt.Scale(domain=list(names), range=fills), legend=legend),
    )


def vertical_rule(value: float, ink: str, title: str, dash: Sequence[int] = (1, 0)) -> alt.Chart:
    rule = alt.Chart(chart_data([{"at": value}])).mark_rule(color=ink, strokeDash=list(dash))
    return rule.encode(x=alt.X("at:Q", title=title))  # titles of layers are joined unless they are the same


def end_labels(
    ends: Rows, x: alt.X, y: alt.Y, height: float, pixels: int = HEIGHT, top: float = np.inf
) -> list[alt.Chart]:
    """Names beside points, pushed up where points are close, and all down where one would stand above ``top``.

    ``height`` is that of all data, in their units, and ``pixels`` in pixels.
    """
    placed: list[float] = []
    ends = sorted(ends, key=lambda e: (e["y"], e["x"]))
    for end in ends:
        placed.append(max(end["y"], placed[-1] + height * 14 / pixels if placed else -np.inf))
    over = max([*placed, -np.inf]) - top
    rows = [end | {"y": at - max(over, 0.0)} for end, at in zip(ends, placed, strict=True)]
    text = alt.Chart(chart_data(rows)).mark_text(align="left", dx=8, color=INK)
    return [text.encode(x=x, y=y, text="label:N")] if rows else []


def chart_legend(columns: int = 0) -> alt.Legend:
    return alt.Legend(
        title=None,
        orient="top",
        direction="horizontal",
        columns=columns,
        symbolSize=56,
        columnPadding=26,
        labelLimit=200,
    )
