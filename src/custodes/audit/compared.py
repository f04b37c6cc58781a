"""The report of a comparison of models: who they are, and a section for every probe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from custodes.audit.probe import ProbeFigure
from custodes.audit.rows import Row
from custodes.page import Section, Tile, number, percent, signed
from custodes.page.charts import DASHES, INKS, chart_data, chart_legend, inline_svg, interval_span
from custodes.page.drawing import alt
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
    source: str
    """Where they come from."""
    models: list[str]
    figures: list[ProbeFigure] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def n(self) -> int:
        return self.asked

    def __post_init__(self) -> None:
        stored: list[Any] = list(self.figures)  # as the ledger has them, where it was read
        read = [figure if isinstance(figure, ProbeFigure) else ProbeFigure.from_dict(figure) for figure in stored]
        object.__setattr__(self, "figures", read)

    def told(self) -> list[ProbeFigure]:
        """The figures that the report's summary tells of."""
        return [figure for name in self.headline for figure in self.figures if figure.name == name]

    def claims(self) -> list[str]:
        """Which of these differ measurably from the first model's."""
        return [
            _sentence(self.title, figure, self.models[0], model)
            for figure in self.told()
            for model, difference in figure.differences.items()
            if not difference.low <= 0 <= difference.high
        ]

    def alike(self) -> tuple[int, int]:
        """How many differences of these are not measurable, and how many there are."""
        differences = [difference for figure in self.told() for difference in figure.differences.values()]
        return sum(d.low <= 0 <= d.high for d in differences), len(differences)


def alike_sentence(found: Iterable[ProbeFound]) -> list[str]:
    """What to say of differences that are not measurable; nothing where all are."""
    counts = [probed.alike() for probed in found]
    alike, every = (sum(count) for count in zip(*counts, strict=True)) if counts else (0, 0)
    what = "differences that the probes' summary tells of are" if every > 1 else "difference is"
    return [f"{alike} of {every} {what} not measurable; the sections below have them."] if alike else []


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
    rank = 99
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
        return alike_sentence(self.source.probes.values()) + [
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


PROBE_TABLE = """
{% macro probe_table(found) %}
<p>{{ found.asks }} <span class="none">{{ found.asked | number }} of each model: {{ found.source }}.</span></p>
{% if found.figures %}<div class="scroll"><table class="wide-table">
  <thead><tr><th></th>{% for m in found.models %}<th>{{ m }}</th>{% endfor %}{% for m in found.models[1:] %}<th>{{ m }} minus {{ found.models[0] }}</th>{% endfor %}</tr></thead>
  {% for f in found.figures %}<tr><th scope="row">{{ f.name }}{% if f.note %}<small>{{ f.note }}</small>{% endif %}</th>
  {% for m in found.models %}{% if m in f.models %}{{ cell(m, f.models[m], f.form, true) }}{% else %}<td data-label="{{ m }}">–</td>{% endif %}{% endfor %}
  {% for m in found.models[1:] %}{% if m in f.differences %}{{ cell("difference", f.differences[m], "points" if f.form == "percent" else "signed") }}{% else %}<td data-label="difference">–</td>{% endif %}{% endfor %}</tr>
  {% endfor %}</table></div>
{% if found.figures | selectattr("form", "equalto", "percent") | list %}<p class="none">Differences of percentages are in points.</p>{% endif %}{% endif %}
{% for model, why in found.skipped.items() %}<p class="none">{{ model }} was not asked: {{ why }}</p>{% endfor %}
{% endmacro %}
"""


class ProbeSection(Section[ComparedModels]):
    """What one probe found: a row for each figure, a column for each model and each difference from the first."""

    template = (
        PROBE_TABLE
        + """
{{ probe_table(section.found) }}
{% for caption, svg in charts.items() %}{{ figure(svg, caption) }}{% endfor %}
"""
    )

    @property
    def found(self) -> ProbeFound:
        return self.source.probes[self.name]

    def read(self) -> ProbeFound:
        return self.found

    def claims(self) -> Sequence[str]:
        return self.found.claims()

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
    verb = "is higher" if difference.estimate > 0 else "is lower"
    unit = " points" if of_percent else ""
    return (
        f"{title}: “{figure.name}” {verb} in {model} than in {first}: {levels(after)} against "
        f"{levels(before)}, {change(difference.estimate)}{unit}, 95 % interval {change(difference.low)} to {change(difference.high)}."
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
        y=alt.Y("figure:N", title=None, sort=[f.name for f in figures], axis=alt.Axis(labelLimit=320)),
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
