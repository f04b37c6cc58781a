"""Inside the model: at which layers a concept can be read, and what its direction does beside random ones."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from custodes.audit.directions import held_out_area
from custodes.audit.hidden_states import DirectionTried, InsideSet, LayerProbed
from custodes.audit.record import RecordedRun, RunSection
from custodes.page import Tile, number, percent, signed
from custodes.page.charts import BLUE, GREY, INK, RUST, chart_data, chart_legend, inline_svg, interval_span
from custodes.page.drawing import alt
from custodes.page.numbers import points
from custodes.registry import section
from custodes.stats import Interval, auc, mean_interval, paired_difference, weighted_sum

MEANS, LOGISTIC, WORDS, SHUFFLED = "difference of means", "ridge logistic", "bag of words", "shuffled labels"
LINES = (MEANS, LOGISTIC, WORDS, SHUFFLED)
INKS, DASHES = (BLUE, RUST, INK, GREY), ([1, 0], [6, 3], [8, 3, 2, 3], [2, 2])
MEASURES = {
    "answer": "probability of the answer",
    "reply": "nats a token of the reply",
    "score": "the reward's score",
}
BINS = 24


@section
class InsideSection(RunSection):
    """Area under the curve of each layer's probes with their controls, ablation and steering; absent where nothing was probed."""

    title = "Inside the model"
    place = 37
    rank = 7
    template = """
{% if figures %}
<p>The concept <b>{{ figures.concept }}</b> in the {{ figures.target }} <code>{{ figures.model }}</code>: {{ figures.read | number }} items in {{ figures.groups | number }} groups, {{ figures.source }}. Each item is read at its last token, and scored by a probe that saw no item of its group.</p>
{% for caption, svg in charts.items() if caption.startswith("Layers") %}{{ figure(svg, caption) }}{% endfor %}
<p class="reading">The area under the curve is the chance that an item with the concept scores above one without: 50 % is none. A bag of words reads the text and no model. Shuffled labels mean nothing; a probe that tells them would only have learned the groups.</p>
<table class="kv">{{ row("Bag of words", figures.words, "percent", "the texts alone") }}<tr><th scope="row">Shuffled labels<small>mean over all layers; shuffled {{ figures.shuffles }} times</small></th><td>{{ figures.shuffled | percent }}</td></tr></table>
<details><summary>Layer by layer</summary><div class="scroll"><table class="wide-table"><thead><tr><th>After layer</th><th>difference of means</th><th>ridge logistic</th><th>shuffled labels, mean</th></tr></thead>
<tbody>{% for l in figures.layers %}<tr><th scope="row">{{ l.layer }}</th>{{ cell("difference of means", l.difference, "percent") }}{{ cell("ridge logistic", l.logistic, "percent") }}<td data-label="shuffled">{{ l.shuffled | percent }}</td></tr>{% endfor %}</tbody></table></div></details>
{% if figures.effects %}
<h3>What the direction does</h3>
<p>The difference of means after layer {{ figures.direction.layer }} was found in half of the groups. On {{ figures.direction.on | number }} items of the others is measured: {{ figures.direction.what }}. <i>Ablated</i>: nothing in the residual stream lies along the direction, after any layer. <i>Steered</i>: a multiple of the direction is added after its layer.</p>
<div class="scroll"><table class="wide-table"><thead><tr><th></th><th>before</th><th>after</th><th>change</th><th>of random directions, middle 90 %</th><th>random directions that change it less</th><th>perplexity of own replies</th></tr></thead>
<tbody>{% for e in figures.effects %}<tr><th scope="row">{{ e.name }}<small>{{ e.what }}</small></th>{{ cell("before", e.before, e.form) }}{{ cell("after", e.after, e.form) }}{{ cell("change", e.change, "points" if e.form == "percent" else "signed", true) }}<td data-label="random">{{ e.random.low | form("points" if e.form == "percent" else "signed") }} to {{ e.random.high | form("points" if e.form == "percent" else "signed") }}</td><td data-label="beaten"><b>{{ e.beaten }} of {{ e.random.n }}</b></td><td data-label="perplexity">{% if e.perplexity %}{{ e.perplexity.after | number }} <small>before {{ e.perplexity.before | number }}, random {{ e.perplexity.random | number }}</small>{% else %}–{% endif %}</td></tr>{% endfor %}</tbody></table></div>
{% if figures.effects | selectattr("form", "equalto", "percent") | list %}<p class="none">Changes of percentages are in points.</p>{% endif %}
{% for caption, svg in charts.items() if not caption.startswith("Layers") %}{{ figure(svg, caption) }}{% endfor %}
{% endif %}{% endif %}
"""

    def read(self) -> dict[str, Any] | None:
        sets = self.source.last(InsideSet)
        if not sets:
            return None
        made = next(iter(sets.values()))
        layers = [_layer(row, made) for row in _layers(self.source)]
        aucs = [x for layer in layers for x in layer.pop("each")]
        tried = [row for rows in self.source.rows(DirectionTried).values() for row in rows]
        none = next((row for row in tried if row.change == "none"), None)
        return {
            "concept": made.concept,
            "source": made.source,
            "model": made.model,
            "target": made.target,
            "measured": made.measured,
            "read": made.n,
            "groups": len(set(made.group)),
            "shuffles": len(made.shuffled),
            "words": held_out_area(made.words, made.label, made.group),
            "shuffled": float(np.mean(aucs)) if aucs else None,
            "layers": layers,
            "best": best_layer(self.source) if layers else None,
            "direction": None if none is None else {"layer": none.layer, "on": none.n, "what": MEASURES[made.measured]},
            "effects": _effects(none, tried, made) if none is not None else [],
        }

    def tiles(self) -> list[Tile]:
        if not self.figures or not self.figures["layers"]:
            return []
        best = self.figures["layers"][self.figures["best"]]
        tiles = [
            Tile(f"best layer, {best['layer']}: area", percent(best["difference"].estimate), "difference of means")
        ]
        tiles += [
            Tile(
                f"{e['name']}: change",
                _change(e, e["change"].estimate),
                f"beyond {e['beaten']} of {e['random']['n']} random",
            )
            for e in self.figures["effects"][:1]
        ]
        return tiles

    def claims(self) -> list[str]:
        if not self.figures or not self.figures["layers"]:
            return []
        f, best = self.figures, self.figures["layers"][self.figures["best"]]
        claims = [
            f"Difference of means tells {f['concept']} best after layer {best['layer']}: area {_bounded(best['difference'])}. "
            f"A bag of words has {_bounded(f['words'])}, shuffled labels have {percent(f['shuffled'])} on average."
        ]
        for e in f["effects"]:
            x, unit = e["change"], " points" if e["form"] == "percent" else ""
            sure = "cannot be told from none" if x.low <= 0 <= x.high else "falls" if x.high < 0 else "rises"
            beside = ""
            if e["perplexity"]:
                beside = f" Perplexity of own replies goes from {number(e['perplexity']['before'])} to {number(e['perplexity']['after'])}."
            claims.append(
                f"{e['name']}: {e['what']} {sure}, by {_change(e, x.estimate)}{unit}, 95 % interval {_change(e, x.low)} to "
                f"{_change(e, x.high)}; {e['beaten']} of {e['random']['n']} random directions change it less.{beside}"
            )
        return claims

    def charts(self) -> dict[str, str]:
        if not self.figures or not self.figures["layers"]:
            return {}
        charts = {"Layers: probes with their 95 % intervals, and both controls.": _layers_chart(self.figures)}
        for e in self.figures["effects"]:
            charts[
                f"{e['name']}: change of {e['what']}, the concept's direction and {e['random']['n']} random ones."
            ] = _random_chart(e)
        return charts

    def limits(self) -> list[str]:
        if not self.figures or not self.figures["layers"]:
            return []
        f = self.figures
        best = f["layers"][f["best"]]
        limits = [
            "That a concept can be read in a layer does not show that the model uses it; ablation asks that.",
            "The best layer was chosen among all, so its area is a little too high.",
        ]
        if f["words"].high >= best["difference"].low:
            limits.append(
                f"A bag of words may tell {f['concept']} as well as the model's states do: the probe may read words."
            )
        return limits

    def missing(self) -> list[str]:
        if not self.figures or self.figures["effects"]:
            return []
        return ["what the direction does (directions were not tried)"]


def best_layer(source: RecordedRun) -> int:
    """The layer at which difference of means tells best; of equal areas the one where the classes lie furthest apart."""
    label = np.array(next(iter(source.last(InsideSet).values())).label)

    def key(row: LayerProbed) -> tuple[float, float]:
        scores = np.array(row.difference)
        spread = max(float(scores[label].std() + scores[~label].std()), 1e-9)
        return round(auc(scores, label).estimate, 6), float(scores[label].mean() - scores[~label].mean()) / spread

    return max(_layers(source), key=key).layer


def _layers(source: RecordedRun) -> list[LayerProbed]:
    rows = [row for rows in source.rows(LayerProbed).values() for row in rows]
    return sorted(rows, key=lambda row: row.layer)


def _layer(row: LayerProbed, made: InsideSet) -> dict[str, Any]:
    each = [auc(scores, label).estimate for scores, label in zip(row.shuffled, made.shuffled, strict=True)]
    return {
        "layer": row.layer,
        "difference": held_out_area(row.difference, made.label, made.group),
        "logistic": held_out_area(row.logistic, made.label, made.group),
        "shuffled": float(np.mean(each)),
        "each": each,
    }


def _effects(none: DirectionTried, tried: Sequence[DirectionTried], made: InsideSet) -> list[dict[str, Any]]:
    by_change: dict[tuple[str, float], dict[int, DirectionTried]] = defaultdict(dict)
    for row in tried:
        if row.change != "none":
            by_change[row.change, row.strength][row.direction] = row
    effects = []
    for (change, strength), rows in by_change.items():
        if -1 not in rows or len(rows) < 2:
            continue
        whole = made.measured == "answer" and change == "ablated"
        random = np.array([_moved(row, none, whole).estimate for k, row in rows.items() if k >= 0])
        own = _moved(rows[-1], none, whole)
        nats = {name: row.surprise for name, row in (("before", none), ("after", rows[-1]))}
        spared = [_perplexity(row.surprise) for k, row in rows.items() if k >= 0]
        what = MEASURES[made.measured]
        effects.append(
            {
                "name": "Ablated" if change == "ablated" else f"Steered by {strength:g}",
                "what": what if whole else f"{what}, with the concept minus without",
                "form": "percent" if made.measured == "answer" else "number",
                "before": _level(none, whole, made),
                "after": _level(rows[-1], whole, made),
                "change": own,
                "random": {
                    "n": len(random),
                    "low": float(np.quantile(random, 0.05)),
                    "high": float(np.quantile(random, 0.95)),
                    "changes": random.tolist(),
                },
                "beaten": int((random > own.estimate).sum() if own.estimate < 0 else (random < own.estimate).sum()),
                "perplexity": None
                if not none.surprise or none.surprise[0] is None
                else {name: _perplexity(own) for name, own in nats.items()} | {"random": float(np.median(spared))},
            }
        )
    return effects


def _perplexity(nats: Sequence[float | None]) -> float:
    return float(np.exp(np.mean([x for x in nats if x is not None]))) if nats and nats[0] is not None else float("nan")


def _level(row: DirectionTried, whole: bool, made: InsideSet) -> Interval:
    """The mean of what is measured, or its mean with the concept minus that without."""
    if whole:
        return mean_interval(row.value, row.group).within(0.0, 1.0)
    apart = _apart(np.array(row.value), row)
    return apart.within(-1.0, 1.0) if made.measured == "answer" else apart


def _moved(row: DirectionTried, none: DirectionTried, whole: bool) -> Interval:
    if whole:
        return paired_difference(row.value, none.value, row.group)
    return _apart(np.array(row.value) - np.array(none.value), row)


def _apart(values: Any, row: DirectionTried) -> Interval:
    """Mean with label 1 minus mean with label 0: paired where every group has both, else of independent groups."""
    label, group = np.array(row.label), np.array(row.group)
    names = sorted(set(row.group))
    if all(len(set(label[group == name])) == 2 for name in names):
        sides = [[values[(group == name) & (label == side)].mean() for name in names] for side in (True, False)]
        return mean_interval(np.array(sides[0]) - np.array(sides[1]))
    one, other = (mean_interval(values[label == side], group[label == side].tolist()) for side in (True, False))
    return weighted_sum((1, one), (-1, other))


def _change(effect: dict[str, Any], value: float) -> str:
    return points(value) if effect["form"] == "percent" else signed(value)


def _bounded(x: Interval) -> str:
    return f"{percent(x.estimate)} [{percent(x.low)}, {percent(x.high)}]"


# ---------------------------------------------------------------- charts


def _layers_chart(figures: dict[str, Any]) -> str:
    rows, last = [], figures["layers"][-1]["layer"]
    for layer in figures["layers"]:
        rows += [
            interval_span(layer[name], "y") | {"x": layer["layer"], "line": line}
            for name, line in (("difference", MEANS), ("logistic", LOGISTIC))
        ]
        rows.append(
            {
                "x": layer["layer"],
                "y": layer["shuffled"],
                "low": layer["shuffled"],
                "high": layer["shuffled"],
                "line": SHUFFLED,
            }
        )
    rows += [interval_span(figures["words"], "y") | {"x": x, "line": WORDS} for x in (0, last)]
    x = alt.X(
        "x:Q",
        title="after layer",
        axis=alt.Axis(format="d", tickMinStep=1),
        scale=alt.Scale(domain=[0, max(last, 1)], nice=False),
    )
    low = min(0.4, *(r["low"] for r in rows))
    scale = alt.Scale(domain=[low, 1], nice=False)
    y = alt.Y("y:Q", title="area under the curve", scale=scale, axis=alt.Axis(format=".0%", tickCount=6))
    ink = alt.Color("line:N", scale=alt.Scale(domain=list(LINES), range=list(INKS)), legend=chart_legend(2))
    dash = alt.StrokeDash("line:N", scale=alt.Scale(domain=list(LINES), range=list(DASHES)), legend=chart_legend(2))
    base = alt.Chart(chart_data(rows)).encode(x=x)
    bands, dots = [], []  # without a legend of their own
    for line, own in zip(LINES[:3], INKS, strict=False):
        of_line = base.transform_filter(alt.datum.line == line)
        span = alt.Y("low:Q", title="area under the curve", scale=scale)
        bands.append(of_line.mark_area(opacity=0.12, color=own).encode(y=span, y2="high:Q"))
        if line != WORDS:
            dots.append(of_line.mark_point(size=26, filled=True, opacity=1, color=own).encode(y=y))
    lines = base.mark_line(strokeWidth=1.8).encode(y=y, color=ink, strokeDash=dash)
    chance = alt.Chart(chart_data([{"y": 0.5}])).mark_rule(color=GREY, strokeWidth=0.8).encode(y=y)
    chart = alt.layer(chance, *bands, lines, *dots).properties(width=430, height=240)
    return inline_svg(
        chart, "Area under the curve of probes after each layer, with a bag of words and shuffled labels."
    )


def _random_chart(effect: dict[str, Any]) -> str:
    """A histogram of random directions' changes, with the concept's own as a line."""
    form = ".0%" if effect["form"] == "percent" else ".2f"
    x = alt.X("x:Q", title="change", axis=alt.Axis(format=form, tickCount=5))
    random, own = effect["random"]["changes"], effect["change"].estimate
    low, high = min(*random, own, 0.0), max(*random, own, 0.0)
    counts, edges = np.histogram(random, bins=BINS, range=(low, high if high > low else low + 1e-9))
    rows = [
        {"x": float(a), "end": float(b), "n": int(c)} for a, b, c in zip(edges, edges[1:], counts, strict=False) if c
    ]
    bars = (
        alt.Chart(chart_data(rows))
        .mark_bar(color=GREY, opacity=0.7)
        .encode(
            x=x,
            x2="end:Q",
            y=alt.Y("n:Q", title="random directions", axis=alt.Axis(tickMinStep=1, format="d", tickCount=4)),
        )
    )
    at = {"x": own, "n": int(max(counts)), "label": "the concept's"}
    rule = alt.Chart(chart_data([at])).mark_rule(color=RUST, strokeWidth=2.2).encode(x=x)
    named = alt.Chart(chart_data([at])).encode(x=x, y="n:Q", text="label:N")
    on_left = own < (low + high) / 2
    text = named.mark_text(align="left" if on_left else "right", dx=6 if on_left else -6, color=RUST)
    return inline_svg(
        alt.layer(bars, rule, text).properties(width=430, height=120),
        "Changes by random directions and by the concept's own.",
    )
