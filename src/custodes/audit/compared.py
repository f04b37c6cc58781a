"""The report of a comparison of models: who they are, and a section for every probe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import altair as alt

from custodes.audit.probe import ProbeFigure
from custodes.audit.rows import Row
from custodes.page import Section, Tile, number, percent, signed
from custodes.page.charts import DASHES, INKS, chart_data, chart_legend, inline_svg, interval_span
from custodes.page.numbers import points
from custodes.stats import Interval

SHAPES = ("square", "circle", "triangle-up", "diamond", "cross")
ROW = 34
"""Pixels of a figure in a chart."""


@dataclass(frozen=True, kw_only=True)
class ComparedModel(Row):
    """A model of a comparison; ``subject`` is its name there.

    ``history`` says what is known of how it came about, ``kl`` how far it is from the first model (nats a reply), or
    ``no_kl`` why that is not told. ``tokenizer`` is a hash of its vocabulary, "" where it is not known.
    """

    NAME: ClassVar[str] = "compared_model"

    model: str
    history: str
    fingerprint: str = ""
    tokenizer: str = ""
    kl: Interval | None = None
    no_kl: str = ""


@dataclass(frozen=True, kw_only=True)
class ProbeFound(Row):
    """What a probe found of all models; ``subject`` is the probe. ``skipped`` says of which models it found nothing, and why."""

    NAME: ClassVar[str] = "probe_found"

    title: str
    asks: str
    cannot: str
    headline: list[str]
    asked: int
    """Items, or replies, of each model."""
    figures: list[ProbeFigure] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def n(self) -> int:
        return self.asked


@dataclass(frozen=True)
class ComparedModels:
    """Models that were asked the same: who they are, and what each probe found."""

    models: dict[str, ComparedModel]
    probes: dict[str, ProbeFound]
    not_asked: dict[str, str]
    """Probe -> why no model was asked."""
    charts: Mapping[str, Mapping[str, str]]
    """Probe -> caption -> SVG."""

    def to_dict(self) -> dict[str, Any]:
        return {"models": self.models, "probes": self.probes, "not_asked": self.not_asked}


class ModelsSection(Section[ComparedModels]):
    """Who is compared, and how far each is from the first."""

    title = "The models"
    rank = 0
    template = """
<table class="wide-table">
  <thead><tr><th></th><th>Model</th><th>What is known of it</th><th>KL to {{ figures.first }}, nats a reply</th></tr></thead>
  {% for name, m in source.models.items() %}<tr><th scope="row">{{ name }}</th><td data-label="model">{{ m.model }}{% if m.fingerprint %}<br><small><code>{{ m.fingerprint[:16] }}</code></small>{% endif %}</td><td data-label="history">{{ m.history }}</td>
  {% if m.kl is not none %}{{ cell("KL", m.kl, "number", true) }}{% else %}<td data-label="KL">{{ m.no_kl or "–" }}</td>{% endif %}</tr>{% endfor %}
</table>
{% if source.not_asked %}<h3>Probes that were not asked</h3>
<table class="kv">{% for name, why in source.not_asked.items() %}<tr><th scope="row">{{ name | plain_name }}</th><td>{{ why }}</td></tr>{% endfor %}</table>{% endif %}
"""

    def read(self) -> dict[str, Any]:
        return {
            "first": next(iter(self.source.models)),
            "models": self.source.models,
            "not_asked": self.source.not_asked,
        }

    def tiles(self) -> Sequence[Tile]:
        return [
            Tile(f"KL of {name} to {self.figures['first']}", number(m.kl.estimate), "nats a reply")
            for name, m in self.source.models.items()
            if m.kl is not None
        ]

    def claims(self) -> Sequence[str]:
        known = {name: m.kl for name, m in self.source.models.items() if m.kl is not None}
        apart = [(one, other) for one in known for other in known if known[one].low > known[other].high]
        return [
            f"{one} is further from {self.figures['first']} than {other} ({number(known[one].estimate)} and "
            f"{number(known[other].estimate)} nats a reply): part of their difference may be distance alone."
            for one, other in apart
        ]

    def limits(self) -> Sequence[str]:
        return [
            "Each interval holds its own difference at 95 %; of twenty differences that are none, one is expected to look like one.",
            "Models are compared as they are. What tuning did is told only where the first model is the one that tuning began with.",
        ]

    def missing(self) -> Sequence[str]:
        return [f"{name} (not asked)" for name in self.source.not_asked]


class ProbeSection(Section[ComparedModels]):
    """What one probe found: a row for each figure, a column for each model and each difference from the first."""

    template = """
<p>{{ figures.asks }}</p>
{% if figures.rows %}<div class="scroll"><table class="wide-table">
  <thead><tr><th></th>{% for m in figures.models %}<th>{{ m }}</th>{% endfor %}{% for m in figures.models[1:] %}<th>{{ m }} minus {{ figures.models[0] }}</th>{% endfor %}</tr></thead>
  {% for f in figures.rows %}<tr><th scope="row">{{ f.name }}{% if f.note %}<small>{{ f.note }}</small>{% endif %}</th>
  {% for m in figures.models %}{% if m in f.models %}{{ cell(m, f.models[m], f.form, true) }}{% else %}<td data-label="{{ m }}">–</td>{% endif %}{% endfor %}
  {% for m in figures.models[1:] %}{% if m in f.differences %}{{ cell("difference", f.differences[m], "points" if f.form == "percent" else "signed") }}{% else %}<td data-label="difference">–</td>{% endif %}{% endfor %}</tr>
  {% endfor %}</table></div>
{% if figures.percent %}<p class="none">Differences of percentages are in points, paired on the same items.</p>{% endif %}{% endif %}
{% for model, why in figures.skipped.items() %}<p class="none">{{ model }} was not asked: {{ why }}</p>{% endfor %}
{% for caption, svg in charts.items() %}{{ figure(svg, caption) }}{% endfor %}
"""

    @property
    def found(self) -> ProbeFound:
        return self.source.probes[self.name]

    def read(self) -> dict[str, Any]:
        found = self.found
        return {
            "asks": found.asks,
            "asked": found.asked,
            "models": list(self.source.models),
            "rows": found.figures,
            "percent": any(f.form == "percent" and f.differences for f in found.figures),
            "skipped": found.skipped,
        }

    def claims(self) -> Sequence[str]:
        first = next(iter(self.source.models))
        told = [f for name in self.found.headline for f in self.found.figures if f.name == name]
        return [_sentence(self.title, f, first, model) for f in told for model in f.differences]

    def charts(self) -> dict[str, str]:
        shares = [f for f in self.found.figures if f.form == "percent"]
        own = dict(self.source.charts.get(self.name, {}))
        if len(shares) < 2:
            return own
        return {
            "Each model with its 95 % interval.": _interval_chart(self.title, shares, list(self.source.models))
        } | own

    def limits(self) -> Sequence[str]:
        return [f"{self.title} does not say {self.found.cannot}"] if self.found.cannot else []

    def missing(self) -> Sequence[str]:
        return [f"{self.title.lower()} of {model}" for model in self.found.skipped]


def _sentence(title: str, figure: ProbeFigure, first: str, model: str) -> str:
    difference, of_percent = figure.differences[model], figure.form == "percent"
    before, after = (figure.models[name].estimate for name in (first, model))
    levels, change = (percent, points) if of_percent else (number, signed)
    verb = "differ measurably" if not difference.low <= 0 <= difference.high else "do not differ measurably"
    unit = " points" if of_percent else ""
    return (
        f"{title}: in “{figure.name}” {model} and {first} {verb}: {levels(after)} and {levels(before)}, "
        f"{change(difference.estimate)}{unit}, 95 % interval {change(difference.low)} to {change(difference.high)}."
    )


def _interval_chart(title: str, figures: Sequence[ProbeFigure], models: Sequence[str]) -> str:
    """Intervals of percentages: a row for each figure, a mark for each model."""
    rows = [
        interval_span(f.models[model], "x") | {"figure": f.name, "model": model}
        for f in figures
        for model in models
        if model in f.models
    ]
    base = alt.Chart(chart_data(rows)).encode(
        y=alt.Y("figure:N", title=None, sort=[f.name for f in figures], axis=alt.Axis(labelLimit=260)),
        yOffset=alt.YOffset("model:N", sort=list(models), scale=alt.Scale(paddingInner=0.2, paddingOuter=0.4)),
    )
    x = alt.X("x:Q", title=None, scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format=".0%", tickCount=6))
    inks = [INKS[k % len(INKS)] for k in range(len(models))]
    color = alt.Color("model:N", scale=alt.Scale(domain=list(models), range=inks), legend=chart_legend())
    spans = base.mark_rule(strokeWidth=1.6).encode(
        x=alt.X("low:Q", title=None, scale=alt.Scale(domain=[0, 1])),
        x2="high:Q",
        color=color,
        strokeDash=alt.StrokeDash(
            "model:N",
            scale=alt.Scale(domain=list(models), range=[DASHES[k % len(DASHES)] for k in range(len(models))]),
            legend=chart_legend(),
        ),
    )
    shapes = [SHAPES[k % len(SHAPES)] for k in range(len(models))]
    marks = base.mark_point(size=56, filled=True, opacity=1).encode(
        x=x,
        color=color,
        shape=alt.Shape("model:N", scale=alt.Scale(domain=list(models), range=shapes), legend=chart_legend()),
    )
    height = ROW * len(figures) + 8 * len(figures) * max(0, len(models) - 2)
    return inline_svg(alt.layer(spans, marks).properties(height=height), f"{title}: each model with its interval.")
