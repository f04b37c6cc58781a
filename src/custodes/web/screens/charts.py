"""Small charts in a page: intervals in a table's cell, and two charts by altair. In the page's own ink, so that they are
read in light, in dark and in black and white; every one says in words what it shows."""

from __future__ import annotations

import html
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import vl_convert

INK = "currentColor"
WIDTH, HEIGHT = 340, 160


def whisker(interval: Mapping[str, Any] | None, low: float, high: float, at: float | None = None) -> str:
    """An interval as a line with a dot, on a scale from ``low`` to ``high``; ``at`` is marked by a dashed line."""
    if interval is None or interval["estimate"] is None:
        return ""

    def x(value: float | None, missing: float) -> float:
        held = missing if value is None else min(max(value, low), high)
        return 4 + 112 * (held - low) / (high - low)

    left, right, dot = x(interval["low"], low), x(interval["high"], high), x(interval["estimate"], low)
    mark = "" if at is None else f'<line x1="{x(at, low):.1f}" x2="{x(at, low):.1f}" y1="0" y2="16" class="at"/>'
    return (
        f'<svg class="whisker" viewBox="0 0 120 16" width="120" height="16" aria-hidden="true">{mark}'
        f'<line x1="{left:.1f}" x2="{right:.1f}" y1="8" y2="8"/><circle cx="{dot:.1f}" cy="8" r="3.5"/></svg>'
    )


def rhythm(found: Mapping[str, Any]) -> str:
    """Items handed in by hour or by day, as bars."""
    form = "%H:%M" if found["unit"] == "hour" else "%d %b"
    rows = [
        {"n": n, "at": time.strftime(form, time.localtime(c["at"])), "items": c["items"]}
        for n, c in enumerate(found["counts"])
    ]
    labels = {row["n"]: row["at"] for row in rows}
    step = -(-len(rows) // 6)  # so that hours do not run into each other
    chart = (
        alt.Chart(alt.Data(values=rows))
        .mark_bar(color=INK, width={"band": 0.8})
        .encode(
            x=alt.X(
                "at:O",
                sort=None,
                title=f"{found['unit']}",
                axis=alt.Axis(values=[labels[n] for n in range(0, len(rows), step)], labelAngle=0),
            ),
            y=alt.Y("items:Q", title="items handed in", axis=alt.Axis(tickCount=4, tickMinStep=1)),
        )
    )
    total = sum(c["items"] for c in found["counts"])
    return _svg(chart, f"Items handed in by {found['unit']}: {total:,} in {len(rows)} {found['unit']}s.")


def budget(found: Sequence[Mapping[str, Any]]) -> str:
    """Accuracy of the majority by the number of judgments, with intervals."""
    rows = [
        {
            "k": row["judgments"],
            "y": row["estimate"],
            "low": row["low"],
            "high": row["high"],
        }
        for row in found
    ]
    x = alt.X("k:O", title="judgments per gold item", axis=alt.Axis(labelAngle=0))
    y = alt.Y(
        "y:Q", title="majority is right", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format=".0%", tickCount=5)
    )
    base = alt.Chart(alt.Data(values=rows)).encode(x=x)
    chart = alt.layer(
        base.mark_rule(color=INK, opacity=0.6).encode(y=alt.Y("low:Q", title="majority is right"), y2="high:Q"),
        base.mark_line(color=INK, strokeDash=[5, 3]).encode(y=y),
        base.mark_point(color=INK, filled=True, size=60, opacity=1).encode(y=y),
    )
    said = ", ".join(f"{row['judgments']}: {row['estimate']:.0%}" for row in found)
    return _svg(chart, f"Accuracy of the majority by judgments per gold item: {said}.")


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
    about = f'<svg role="img" aria-label="{html.escape(label)}" class="chart" '
    return re.sub(r"<svg ", about, svg, count=1)
