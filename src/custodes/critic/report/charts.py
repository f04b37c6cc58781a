"""Charts of critics as inline SVG, drawn by altair and vl-convert without a browser or a network.

Every chart can be read in black and white: what matters differs by shape and filling, and points are named beside them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import numpy as np

from custodes.pictures import to_svg
from custodes.stats import CalibrationBin

INK, GREY, GRID = "#1c1c1c", "#6e6e6e", "#e2e2e2"
FONT = "Helvetica, Arial, 'Liberation Sans', sans-serif"
WIDTH, HEIGHT = 360, 260
WIDE, HIGH = 620, 360  # of the frontier, whose points are named
Rows = list[dict[str, Any]]


def frontier_chart(points: Sequence[Mapping[str, Any]]) -> str:
    """Bugs included against what is false or petty in a critique; policies that none beats are filled and joined.

    Of a search's many modifiers (names with a comma and a number) only those that none beats are named.
    """
    rows = [dict(p) for p in points if p["cbi"] is not None]
    on = sorted((r for r in rows if r["on_frontier"]), key=lambda r: (r["false_or_petty"], r["cbi"]))
    far = max([r["false_or_petty"] for r in rows], default=0) or 1.0
    scale = alt.Scale(domain=[0, 1.08 * far], nice=False)
    x = alt.X("false_or_petty:Q", title="hallucinations and nitpicks in a critique", scale=scale)
    y = alt.Y("cbi:Q", title="bugs included (CBI)", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format=".0%"))
    marks = [
        _data([r for r in rows if r["on_frontier"] == best])
        .mark_point(shape=shape, size=60, filled=True, fill=fill, stroke=INK, strokeWidth=1.4, opacity=1)
        .encode(x=x, y=y)
        for best, shape, fill in ((True, "circle", INK), (False, "square", "#ffffff"))
    ]
    line = _data(on).mark_line(color=GREY, interpolate="step-after", strokeDash=[4, 3]).encode(x=x, y=y)
    plain = [r for r in rows if r["on_frontier"] or not re.search(r", .*\d", r["policy"])]
    named = _data(_apart(plain)).mark_text(align="left", dx=9, color=INK).encode(
        x=x, y=alt.Y("at:Q", title="bugs included (CBI)"), text="policy:N"
    )  # fmt: skip
    about = f"Bugs included against false and petty findings of {len(rows)} policies."
    return _svg(alt.layer(line, *marks, named).properties(width=WIDE, height=HIGH), about, 210)


def splits_chart(splits: Mapping[str, Mapping[str, Any]]) -> str:
    """How often the likeliest line is the bug's, on every split, with the blind guess beside it."""
    rows = [
        {"split": name, "chance": found["chance"], **{k: found["at_1"][k] for k in ("estimate", "low", "high")}}
        for name, found in splits.items()
        if found["at_1"]["n"]
    ]
    y = alt.Y("split:N", title=None, sort=[r["split"] for r in rows], axis=alt.Axis(ticks=False, domain=False))
    title = "likeliest line is the bug's, 95 % interval"
    x = alt.X("estimate:Q", title=title, scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format=".0%"))
    base = _data(rows).encode(y=y)
    layers = [
        base.mark_rule(color=INK).encode(x=alt.X("low:Q", title=title), x2="high:Q"),
        base.mark_point(shape="circle", size=60, filled=True, fill=INK, opacity=1).encode(x=x),
        base.mark_tick(color=GREY, thickness=2, size=12).encode(x=alt.X("chance:Q", title=title)),
    ]
    chart = alt.layer(*layers).properties(height=alt.Step(26))
    return _svg(
        chart, "Share of tampered functions whose likeliest line is the bug's, by split; ticks are blind guesses."
    )


def calibration_chart(bins: Sequence[CalibrationBin]) -> str:
    """How often there was a bug, against the stated probability of one."""
    rows = [
        {"x": b.predicted, "estimate": b.observed.estimate, "low": b.observed.low, "high": b.observed.high}
        for b in bins
    ]
    unit = alt.Scale(domain=[0, 1])
    x = alt.X("x:Q", title="stated probability of a bug", scale=unit, axis=alt.Axis(format=".0%"))
    title = "share with a bug"
    y = alt.Y("estimate:Q", title=title, scale=unit, axis=alt.Axis(format=".0%"))
    base = _data(rows).encode(x=x)
    layers = [
        _data([{"x": 0, "estimate": 0}, {"x": 1, "estimate": 1}]).mark_line(color=GREY).encode(x=x, y=y),
        base.mark_rule(color=INK).encode(y=alt.Y("low:Q", title=title), y2="high:Q"),
        base.mark_point(shape="circle", size=60, filled=True, fill=INK, opacity=1).encode(y=y),
    ]
    return _svg(alt.layer(*layers), f"Reliability diagram of the probability of a bug in {len(rows)} bins.")


def scaling_chart(points: Sequence[Mapping[str, Any]], fitted: Sequence[Mapping[str, float]], title: str) -> str:
    """A measure against training examples, with the fitted curve. ``points`` have examples, estimate, low and high."""
    rows = [dict(p) for p in points]
    axis = alt.Axis(values=[r["examples"] for r in rows], format=",")
    x = alt.X("examples:Q", title="training examples", scale=alt.Scale(type="log", nice=False, padding=14), axis=axis)
    top = max([r["high"] for r in rows] + [f["value"] for f in fitted])
    scale = alt.Scale(domain=[0, float(min(1.0, np.ceil(top * 10 + 0.5) / 10))])
    y = alt.Y("estimate:Q", title=title, scale=scale, axis=alt.Axis(format=".0%"))
    base = _data(rows).encode(x=x)
    layers = [
        base.mark_rule(color=INK).encode(y=alt.Y("low:Q", title=title), y2="high:Q"),
        base.mark_point(shape="circle", size=60, filled=True, fill=INK, opacity=1).encode(y=y),
    ]
    if fitted:
        curve = _data([dict(f) for f in fitted]).mark_line(color=GREY, strokeDash=[4, 3])
        layers.insert(0, curve.encode(x=x, y=alt.Y("value:Q", title=title)))
    return _svg(alt.layer(*layers), f"{title} against the number of training examples, at {len(rows)} sizes.")


def _apart(rows: Rows) -> Rows:
    """Where names stand: pushed up where two are close."""
    placed: Rows = []
    for row in sorted(rows, key=lambda r: (r["cbi"], r["false_or_petty"])):
        floor = placed[-1]["at"] + 15 / HIGH if placed else -1.0
        placed.append({**row, "at": max(row["cbi"], floor)})
    over = max((r["at"] for r in placed), default=0) - 1
    return [{**r, "at": r["at"] - over} for r in placed] if over > 0 else placed


def _data(rows: Rows) -> alt.Chart:
    return alt.Chart(alt.Data(values=rows))


def _svg(chart: Any, title: str, right: int = 26) -> str:
    """The chart as an <svg> element with a title for screen readers; scales with the page."""
    given = chart.to_dict(validate=False)
    sized = chart.properties(**{k: v for k, v in (("width", WIDTH), ("height", HEIGHT)) if k not in given})
    styled = (
        sized.configure(background="transparent", font=FONT, padding={"left": 10, "right": right, "top": 8, "bottom": 4})
        .configure_view(stroke=None)
        .configure_axis(
            labelColor=INK, titleColor=INK, labelFontSize=12, titleFontSize=12, titleFontWeight="normal",
            gridColor=GRID, domainColor=GREY, tickColor=GREY, titlePadding=8, labelLimit=200,
        )
        .configure_text(fontSize=12)
    )  # fmt: skip
    return to_svg(styled, title)
