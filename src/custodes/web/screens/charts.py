"""How numbers look on a screen: always with their interval and their count; two charts by altair. All of it is in the page's
own ink, to be read in light, in dark and in black and white, and every chart says in words what it shows."""

from __future__ import annotations

import html
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import vl_convert

from custodes.page.drawing import alt

INK = "currentColor"
WIDTH, HEIGHT = 340, 160
IntervalDict = Mapping[str, Any] | None
"""An interval as :meth:`custodes.stats.Interval.to_dict` gives it."""


def rate_text(interval: IntervalDict) -> str:
    """A rate in percent; of none seen, what it is at most."""
    if interval is not None and interval["n"] and interval["estimate"] == 0 and interval["high"] is not None:
        return f"0 %, at most {100 * interval['high']:.0f} % (n = {interval['n']:,})"
    return _text(interval, lambda value: f"{100 * value:.0f}", " %")


def points_text(interval: IntervalDict) -> str:
    """A difference of rates, in points of a hundred."""
    return _text(interval, lambda value: f"{100 * value:+.0f}", " points")


def interval_text(interval: IntervalDict, digits: int = 2) -> str:
    """Any number."""
    return _text(interval, lambda value: f"{value:,.{digits}f}", "")


def _text(interval: IntervalDict, of: Callable[[float], str], unit: str) -> str:
    if interval is None or interval["estimate"] is None or not interval["n"]:
        return "no data yet"
    estimate, n = f"{of(interval['estimate'])}{unit}", interval["n"]
    if interval["low"] is interval["high"] is None:
        return f"{estimate} (no interval, n = {n:,})"
    low, high = ("?" if interval[end] is None else of(interval[end]) for end in ("low", "high"))
    return f"{estimate} [{low}, {high}] (n = {n:,})"


def whisker(interval: IntervalDict, low: float, high: float, at: float) -> str:
    """An interval as a line with a dot, on a scale from ``low`` to ``high``; ``at`` is marked by a dashed line."""
    if interval is None or interval["estimate"] is None:
        return ""

    def x(value: float | None, missing: float) -> float:
        return 4 + 112 * (min(max(missing if value is None else value, low), high) - low) / (high - low)

    left, right, dot = x(interval["low"], low), x(interval["high"], high), x(interval["estimate"], low)
    return (
        '<svg class="whisker" viewBox="0 0 120 16" width="120" height="16" aria-hidden="true">'
        f'<line x1="{x(at, low):.1f}" x2="{x(at, low):.1f}" y1="0" y2="16" class="at"/>'
        f'<line x1="{left:.1f}" x2="{right:.1f}" y1="8" y2="8"/><circle cx="{dot:.1f}" cy="8" r="3.5"/></svg>'
    )


def rhythm_chart(rhythm: Mapping[str, Any]) -> str:
    """Items handed in by hour or by day, as bars."""
    unit, counts = rhythm["unit"], rhythm["counts"]
    form = "%H:%M" if unit == "hour" else "%d %b"
    rows = [{"at": time.strftime(form, time.localtime(c["at"])), "items": c["items"]} for c in counts]
    labels = [row["at"] for row in rows[:: -(-len(rows) // 6)]]  # so that hours do not run into each other
    x = alt.X("at:O", sort=None, title=unit, axis=alt.Axis(values=labels, labelAngle=0))
    y = alt.Y("items:Q", title="items handed in", axis=alt.Axis(tickCount=4, tickMinStep=1))
    bars = alt.Chart(alt.Data(values=rows)).mark_bar(color=INK, width={"band": 0.8}).encode(x=x, y=y)
    total = sum(c["items"] for c in counts)
    return _svg(bars, f"Items handed in by {unit}: {total:,} in {len(rows)} {unit}s.")


def budget_chart(accuracy: Sequence[Mapping[str, Any]]) -> str:
    """Accuracy of the majority by the number of judgments, with intervals."""
    title = "majority is right"
    x = alt.X("judgments:O", title="judgments per gold item", axis=alt.Axis(labelAngle=0))
    axis = alt.Axis(format=".0%", tickCount=5)
    y = alt.Y("estimate:Q", title=title, scale=alt.Scale(domain=[0, 1]), axis=axis)
    base = alt.Chart(alt.Data(values=[dict(row) for row in accuracy])).encode(x=x)
    layers = alt.layer(
        base.mark_rule(color=INK, opacity=0.6).encode(y=alt.Y("low:Q", title=title), y2="high:Q"),
        base.mark_line(color=INK, strokeDash=[5, 3]).encode(y=y),
        base.mark_point(color=INK, filled=True, size=60, opacity=1).encode(y=y),
    )
    values = ", ".join(f"{row['judgments']}: {row['estimate']:.0%}" for row in accuracy)
    return _svg(layers, f"Accuracy of the majority by judgments per gold item: {values}.")


def _svg(chart: Any, label: str) -> str:
    styled = (
        chart.properties(width=WIDTH, height=HEIGHT, background="transparent")
        .configure(font="system-ui, 'DejaVu Sans', sans-serif", padding=4)
        .configure_view(stroke=None)
        .configure_axis(
            labelColor=INK, titleColor=INK, domainColor=INK, tickColor=INK, gridColor=INK, gridOpacity=0.15,
            labelFontSize=12, titleFontSize=12, titleFontWeight="normal",
        )
    )  # fmt: skip
    svg = vl_convert.vegalite_to_svg(styled.to_dict(validate=False))
    return re.sub(r"<svg ", f'<svg role="img" aria-label="{html.escape(label)}" class="chart" ', svg, count=1)
