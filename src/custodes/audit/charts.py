"""The report's charts as inline SVG, drawn by altair and vl-convert without a browser or a network.

Every chart can be read in black and white: series differ by dash and by filled or hollow marks of
different shapes, and lines are named at their ends. Inks are few and fixed, so that the page's style
sheet can restate them for a dark screen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import numpy as np

from custodes.audit.words import number, plain_name, signed
from custodes.pictures import to_svg
from custodes.stats import CalibrationBin, Interval

Section = Mapping[str, Any]
Rows = list[dict[str, Any]]
INK, GREY, GRID, BLUE, RUST = "#1c1c1c", "#6e6e6e", "#e2e2e2", "#1f5a96", "#b4511b"
FONT = "Helvetica, Arial, 'Liberation Sans', sans-serif"
INKS = (BLUE, RUST)
WIDTH, HEIGHT = 325, 220  # of the plot; with axes and labels a chart stays readable on a narrow screen
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right")
DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3])
DISTANCE = "√KL from the base policy (√nats)"
MOST_JUDGES = 32


def judges_chart(judges: Sequence[Section]) -> str:
    """Inferred reliability of each annotator with its interval, the least reliable on top; suspects are hollow."""
    shown = judges[:MOST_JUDGES]
    rows = [
        _span(j["reliability"], "x")
        | {"judge": j["id"], "mark": "suspect" if j["suspect"] else "trusted", "note": _note(j)}
        for j in shown
    ]
    y = alt.Y(
        "judge:N", sort=[r["judge"] for r in rows], title=None, axis=alt.Axis(ticks=False, domain=False, labelLimit=130)
    )
    base = alt.Chart(_data(rows)).encode(y=y)
    title = "inferred reliability, 95 % interval"
    inks = alt.Scale(domain=["trusted", "suspect"], range=[INK, "#ffffff"])
    shapes = alt.Scale(domain=["trusted", "suspect"], range=["circle", "square"])
    layers = [
        _rule_at(0, GREY, title),
        base.mark_rule(color=INK).encode(x=alt.X("low:Q", title=title), x2="high:Q"),
        base.mark_point(size=48, stroke=INK, strokeWidth=1.4, opacity=1).encode(
            x=alt.X("x:Q", title=title, axis=alt.Axis(tickCount=6)),
            shape=alt.Shape("mark:N", scale=shapes, legend=_legend()),
            fill=alt.Fill("mark:N", scale=inks, legend=_legend()),
        ),
        base.mark_text(align="left", dx=8, color=GREY, fontSize=12).encode(x=alt.value(WIDTH - 105), text="note:N"),
    ]
    chart = alt.layer(*layers).properties(width=WIDTH - 105, height=alt.Step(17))
    about = f"Inferred reliability of {len(shown)} annotators with 95 % intervals; suspects are hollow squares."
    return _svg(chart, about)


def truth_chart(judges: Sequence[Section]) -> str:
    """Inferred against true reliability of simulated annotators, one shape per nature."""
    known = [j for j in judges if j["true_reliability"] is not None]
    rows = [
        _span(j["reliability"], "y") | {"truth": j["true_reliability"], "nature": plain_name(j["nature"] or "unknown")}
        for j in known
    ]
    natures = sorted({r["nature"] for r in rows})
    x = alt.X(
        "truth:Q",
        title="true reliability (simulated)",
        scale=alt.Scale(zero=False, padding=12),
        axis=alt.Axis(tickCount=5),
    )
    y = alt.Y("y:Q", title="inferred reliability", scale=alt.Scale(zero=False, padding=12))
    base = alt.Chart(_data(rows)).encode(x=x)
    layers = [
        base.mark_rule(color=GREY).encode(y=alt.Y("low:Q", title="inferred reliability"), y2="high:Q"),
        base.mark_point(size=60, filled=True, fill="#ffffff", stroke=INK, strokeWidth=1.4, opacity=1).encode(
            y=y,
            shape=alt.Shape(
                "nature:N",
                scale=alt.Scale(domain=natures, range=list(SHAPES[: len(natures)])),
                legend=_legend(columns=3),
            ),
        ),
    ]
    chart = alt.layer(*layers).properties(width=WIDTH, height=HEIGHT + 40)
    return _svg(chart, f"Inferred against true reliability of {len(rows)} simulated annotators, with 95 % intervals.")


def reliability_chart(before: Sequence[CalibrationBin], after: Sequence[CalibrationBin]) -> str:
    """Share of pairs that the reward got right against the confidence that it stated."""
    names = ["raw", "after temperature"]
    rows = [
        _span(b.observed, "y") | {"x": b.predicted, "series": name}
        for name, bins in zip(names, (before, after), strict=True)
        for b in bins
    ]
    low = min([0.45, *(r["low"] for r in rows)])
    x = alt.X(
        "x:Q", title="stated confidence", scale=alt.Scale(domain=[0.5, 1]), axis=alt.Axis(format=".0%", tickCount=6)
    )
    y = alt.Y(
        "y:Q",
        title="share that was right",
        scale=alt.Scale(domain=[low, 1], nice=False),
        axis=alt.Axis(format=".0%", tickCount=6),
    )
    shapes = alt.Scale(domain=names, range=["square", "circle"])
    inks = alt.Scale(domain=names, range=["#ffffff", INK])
    base = alt.Chart(_data(rows)).encode(x=x)
    lines = [
        base.transform_filter(alt.datum.series == name)
        .mark_line(color=INK, strokeDash=dash, strokeWidth=1.4)
        .encode(y=y)
        for name, dash in zip(names, (DASHES[1], DASHES[0]), strict=True)
    ]
    marks = base.mark_point(size=52, stroke=INK, strokeWidth=1.4, opacity=1).encode(
        y=y,
        shape=alt.Shape("series:N", scale=shapes, legend=_legend()),
        fill=alt.Fill("series:N", scale=inks, legend=_legend()),
    )
    diagonal = alt.Chart(_data([{"x": 0.5, "y": 0.5}, {"x": 1, "y": 1}])).mark_line(color=GREY, strokeWidth=1)
    spans = base.mark_rule(color=GREY).encode(y=alt.Y("low:Q", title="share that was right"), y2="high:Q")
    chart = alt.layer(diagonal.encode(x=x, y=y), spans, *lines, marks).properties(width=WIDTH, height=HEIGHT)
    about = "Reliability diagram: share of held-out pairs that the reward got right against its stated confidence."
    return _svg(chart, about)


def gain_chart(section: Section, which: str) -> str:
    """Gain of "proxy" or "gold" over the base policy against sqrt(KL): optimisation, and best-of-n, with Gao's
    fitted curves; the peak of the fitted optimisation curve is marked."""
    x, y, spans = _gain_axes(f"{which} gained over base")
    layers: list[alt.Chart] = []
    ends: Rows = []
    for k, (label, curve) in enumerate((("optimised", section), ("best-of-n", section.get("best_of_n", {})))):
        rows = [_span(p[which], "y") | {"x": p["sqrt_kl"]} for p in curve.get("points", []) if p.get(which)]
        if not rows:
            continue
        reached, fit = max(r["x"] for r in rows), curve["fit"].get(which)
        if fit is not None:
            grid = np.linspace(0, reached, 80)
            line = [{"x": float(a), "y": float(b)} for a, b in zip(grid, fit(grid), strict=True)]
            drawn = alt.Chart(_data(line)).mark_line(color=INKS[k], strokeDash=DASHES[k], strokeWidth=1.8)
            layers.append(drawn.encode(x=x, y=y))
        base = alt.Chart(_data(rows)).encode(x=x)
        layers.append(base.mark_rule(color=INKS[k]).encode(y=spans, y2="high:Q"))
        layers.append(_points(base, y, INKS[k], filled=k == 0))
        ends.append(max(rows, key=lambda r: r["x"]) | {"label": label})
        if curve is section and fit is not None and fit.peak is not None and 0 < fit.peak.estimate <= reached:
            layers.extend(_peak_mark(fit.peak, x, left=fit.peak.estimate > reached / 2))
    if not layers:
        return ""
    chart = alt.layer(*layers, *_end_labels(ends, x, y, layers)).properties(width=WIDTH, height=HEIGHT)
    return _svg(chart, f"{which.capitalize()} reward gained over the base policy against the square root of the KL.")


def arms_chart(curves: Mapping[str, Sequence[Section]], at: float) -> str:
    """Gold gained by each arm against sqrt(KL); the distance at which the arms are compared is marked."""
    x, y, spans = _gain_axes("gold gained over base")
    layers: list[alt.Chart] = []
    ends: Rows = []
    for k, (arm, points) in enumerate(curves.items()):
        rows = [_span(p["gold"], "y") | {"x": p["sqrt_kl"], "label": arm} for p in points if p.get("gold")]
        rows.sort(key=lambda r: r["x"])
        ink, base = INKS[k % 2], alt.Chart(_data(rows)).encode(x=x)
        layers.append(base.mark_line(color=ink, strokeDash=DASHES[k % len(DASHES)], strokeWidth=1.8).encode(y=y))
        layers.append(base.mark_rule(color=ink).encode(y=spans, y2="high:Q"))
        layers.append(_points(base, y, ink, filled=k == 0))
        ends.append(rows[-1])
    layers.append(_rule_at(at, GREY, DISTANCE, [2, 2]))
    chart = alt.layer(*layers, *_end_labels(ends, x, y, layers)).properties(width=WIDTH, height=HEIGHT)
    return _svg(chart, "Gold reward gained by each arm against the square root of the KL.")


def step_chart(arms: Mapping[str, Sequence[Section]], field: str, title: str) -> str | None:
    """One quantity along the optimisation steps, a line per arm in the manner of :func:`arms_key`. None where
    no step holds it."""
    x = alt.X("x:Q", title="step", axis=alt.Axis(tickCount=5, tickMinStep=1, format="d"), scale=alt.Scale(nice=False))
    y = alt.Y("y:Q", title=None, axis=alt.Axis(tickCount=4, minExtent=32), scale=alt.Scale(zero=False, nice=True))
    layers: list[alt.Chart] = []
    for k, steps in enumerate(arms.values()):
        rows = [{"x": s["step"], "y": s[field]} for s in steps if s.get(field) is not None]
        if rows:
            line = alt.Chart(_data(rows)).mark_line(
                color=INKS[k % 2], strokeDash=DASHES[k % len(DASHES)], strokeWidth=1.5
            )
            layers.append(line.encode(x=x, y=y))
    if not layers:
        return None
    chart = alt.layer(*layers).properties(width=235, height=100, title=title)
    return _svg(chart, f"{title} along the optimisation steps.")


def arms_key(arms: Sequence[str]) -> str:
    """Which line is which arm, as one small SVG."""
    rows = [{"k": k, "arm": arm} for k, arm in enumerate(arms)]
    layers = []
    for k, row in enumerate(rows):
        base, left = alt.Chart(_data([row])), 110 * k
        rule = base.mark_rule(color=INKS[k % 2], strokeDash=DASHES[k % len(DASHES)], strokeWidth=1.8)
        layers.append(rule.encode(x=alt.value(left), x2=alt.value(left + 30), y=alt.value(8)))
        layers.append(
            base.mark_text(align="left", color=INK).encode(x=alt.value(left + 36), y=alt.value(8), text="arm:N")
        )
    return _svg(
        alt.layer(*layers).properties(width=110 * len(rows), height=16), f"Key to the lines: {', '.join(arms)}."
    )


def checks_chart(checks: Sequence[Section]) -> str:
    """Share of held-out tasks in which each check holds: base (hollow) to optimised (filled)."""
    rows: Rows = [
        {
            "check": plain_name(c["check"]),
            "base": c["base"].estimate,
            "optimised": c["optimised"].estimate,
            "note": f"{signed(100 * c['difference'].estimate, 2)} pts"
            + ("" if c["change"] == "unclear" else f", {c['change']}"),
        }
        for c in checks
    ]
    names = ["base", "optimised"]
    y = alt.Y(
        "check:N", sort=[r["check"] for r in rows], title=None, axis=alt.Axis(ticks=False, domain=False, labelLimit=150)
    )
    x = alt.X(
        "x:Q",
        title="share of checks that hold",
        scale=alt.Scale(domain=[0, 1]),
        axis=alt.Axis(format=".0%", values=[0, 0.25, 0.5, 0.75, 1]),
    )
    points = [{"check": r["check"], "x": r[name], "series": name} for r in rows for name in names]
    width = WIDTH - 130
    layers = [
        alt.Chart(_data(rows))
        .mark_rule(color=GREY, strokeWidth=2)
        .encode(y=y, x=alt.X("base:Q", title="share of checks that hold"), x2="optimised:Q"),
        alt.Chart(_data(points))
        .mark_point(size=56, stroke=INK, strokeWidth=1.4, opacity=1)
        .encode(
            y=y,
            x=x,
            shape=alt.Shape("series:N", scale=alt.Scale(domain=names, range=["square", "circle"]), legend=_legend()),
            fill=alt.Fill("series:N", scale=alt.Scale(domain=names, range=["#ffffff", INK]), legend=_legend()),
        ),
        alt.Chart(_data(rows))
        .mark_text(align="left", dx=10, color=GREY, fontSize=12)
        .encode(y=y, x=alt.value(width), text="note:N"),
    ]
    chart = alt.layer(*layers).properties(width=width, height=alt.Step(22))
    return _svg(
        chart, f"Share of held-out tasks in which each of {len(rows)} checks holds, base policy and optimised policy."
    )


# ---------------------------------------------------------------- pieces


def _points(base: alt.Chart, y: alt.Y, ink: str, filled: bool) -> alt.Chart:
    fill, shape = (ink, "circle") if filled else ("#ffffff", "square")
    return base.mark_point(size=44, stroke=ink, fill=fill, shape=shape, strokeWidth=1.4, opacity=1).encode(y=y)


def _rule_at(value: float, ink: str, title: str, dash: Sequence[int] = (1, 0)) -> alt.Chart:
    rule = alt.Chart(_data([{"at": value}])).mark_rule(color=ink, strokeDash=list(dash))
    return rule.encode(x=alt.X("at:Q", title=title))  # titles of layers are joined unless they are the same


def _gain_axes(title: str) -> tuple[alt.X, alt.Y, alt.Y]:
    """x, y, and y for the lower ends of intervals."""
    scale = alt.Scale(zero=True, nice=False, padding=8)
    x = alt.X("x:Q", title=DISTANCE, scale=scale, axis=alt.Axis(tickCount=6))
    return x, alt.Y("y:Q", title=title), alt.Y("low:Q", title=title)


def _peak_mark(peak: Interval, x: alt.X, left: bool) -> list[alt.Chart]:
    base = alt.Chart(
        _data(
            [{"x": peak.estimate, "label": f"peak {number(peak.estimate)} [{number(peak.low)}, {number(peak.high)}]"}]
        )
    ).encode(x=x)
    return [
        base.mark_rule(color=INK, strokeDash=[2, 3]),
        base.mark_text(
            align="right" if left else "left", dx=-5 if left else 5, fontStyle="italic", color=INK, baseline="bottom"
        ).encode(y=alt.value(HEIGHT - 4), text="label:N"),
    ]


def _end_labels(ends: Rows, x: alt.X, y: alt.Y, layers: Sequence[alt.Chart]) -> list[alt.Chart]:
    """Names at the ends of lines, pushed apart vertically where the ends are close."""
    if not ends:
        return []
    heights = [r["y"] for layer in layers for r in _rows(layer) if "y" in r]
    gap = (max(heights) - min(heights)) * 14 / HEIGHT
    placed: Rows = []
    for end in sorted(ends, key=lambda e: e["y"]):
        floor = placed[-1]["y"] + gap if placed else -np.inf
        placed.append(end | {"y": max(end["y"], floor)})
    return [alt.Chart(_data(placed)).mark_text(align="left", dx=8, color=INK).encode(x=x, y=y, text="label:N")]


def _span(interval: Interval, name: str) -> dict[str, Any]:
    bounds = (interval.low, interval.high)  # without them the mark stands alone
    low, high = (bound if np.isfinite(bound) else interval.estimate for bound in bounds)
    return {name: interval.estimate, "low": low, "high": high}


def _note(judge: Section) -> str:
    nature = plain_name(judge["nature"]) if judge["nature"] else judge["kind"]
    return f"{nature} (n = {judge['judgments']})"


def _legend(columns: int = 0) -> alt.Legend:
    return alt.Legend(
        title=None,
        orient="top",
        direction="horizontal",
        columns=columns,
        symbolSize=56,
        columnPadding=26,
        labelLimit=200,
    )


def _data(rows: Rows) -> alt.Data:
    return alt.Data(values=rows)


def _rows(chart: Any) -> Rows:
    values = chart.data.values
    return values if isinstance(values, list) else []


def _svg(chart: alt.LayerChart | alt.FacetChart, title: str) -> str:
    """The chart as an <svg> element with a title for screen readers; scales with the page."""
    styled = (
        chart.configure(background="transparent", font=FONT, padding={"left": 10, "right": 26, "top": 4, "bottom": 4})
        .configure_view(stroke=None)
        .configure_axis(
            labelColor=INK, titleColor=INK, labelFontSize=12, titleFontSize=12, titleFontWeight="normal",
            gridColor=GRID, domainColor=GREY, tickColor=GREY, titlePadding=8,
        )
        .configure_text(fontSize=12)
        .configure_legend(labelFontSize=12, labelColor=INK)
        .configure_title(fontSize=12, fontWeight="bold", anchor="start", color=INK, offset=8)
    )  # fmt: skip
    return to_svg(styled, title)
