"""Who among the judges is not to be trusted: inferred reliability and bias against each judge's nature.

Nature is known for simulated annotators only, and they are always called simulated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from custodes.audit.record import RunSection
from custodes.audit.rows import Row
from custodes.audit.sections.values import AnnotatorGroups, ValuesSection
from custodes.page import Tile, charts, number, percent, plain_name
from custodes.page.drawing import alt
from custodes.registry import section
from custodes.stats import Interval, normal_quantile, rank_correlation, wilson

HONEST = frozenset({"expert", "hasty"})  # natures that try to answer truthfully; hasty ones are merely careless
BIAS = 0.5  # log-odds: a bias surely larger than this is suspect (it moves a coin toss from 50 % to 62 %)
REPEATS = 0.7  # repeating oneself surely less often than this is suspect
SHOWN = 32  # judges in the chart
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right")


@dataclass(frozen=True, kw_only=True)
class AnnotatorEstimate(Row):
    """What the annotator model says of one annotator; ``subject`` is the annotator's id.

    Units are those of ``feedback.AnnotatorModel``. ``reliability`` 1 is typical, 0 carries nothing, below 0 is inverted.
    ``position`` is the log-odds added to the first shown. ``length`` is the log-odds per standard deviation of the
    difference in log-length, beyond what the typical annotator adds. The truth is known for simulated annotators only and
    on a scale of its own: only ranks are compared. ``feature`` and what follows are of ``feedback.suspect_inversions``:
    the prompts on which the annotator seems to answer the opposite.
    """

    NAME: ClassVar[str] = "annotator_model"

    judgments: int
    reliability: float
    reliability_se: float
    reliability_low: float | None = None  # ends of the 95 % interval; None in rows of 0.1
    reliability_high: float | None = None
    position: float | None = None
    position_se: float | None = None
    length: float | None = None
    length_se: float | None = None
    repeats: int = 0  # pairs of judgments by this annotator of the same two episodes
    repeats_same: int = 0  # how many of them gave the same verdict
    nature: str | None = None  # "expert", "hasty", "length_biased", "position_biased", "random", "poisoner"
    true_reliability: float | None = None
    true_position: float | None = None
    true_length: float | None = None
    feature: str | None = None
    agreed_inside: int | None = None  # judgments on prompts with the feature that agree with the other annotators
    inside: int | None = None
    agreed_outside: int | None = None
    outside: int | None = None
    p_adjusted: float | None = None

    @property
    def n(self) -> int:
        return self.judgments


@dataclass(frozen=True, kw_only=True)
class AnnotatorAgreement(Row):
    """Krippendorff's alpha over all comparisons with its interval (None of too few pairs); ``subject`` is "annotators"."""

    NAME: ClassVar[str] = "agreement"

    alpha: float
    alpha_low: float | None
    alpha_high: float | None
    items: int  # pairs judged by at least two annotators
    judgments: int

    @property
    def n(self) -> int:
        return self.items


@section
class JudgesSection(RunSection):
    """Everyone who judged, least reliable first, and how well the estimates match what is known."""

    title = "Who among the judges is not to be trusted"
    place = 20
    rank = 20
    template = """
{% macro cells(s) %}{{ cell("reliability", s.reliability) }}{{ cell("towards first shown", s.position, "signed") }}{{ cell("towards longer", s.length, "signed") }}{{ cell("repeats itself", s.repeat, "percent", true) }}<td data-label="judgments">{{ s.judgments | number }}</td><td data-label="nature">{{ s.nature | plain_name if s.nature else "not known" }}{% if s.kind == "simulated" %} <small>simulated</small>{% endif %}</td>{% endmacro %}
{% if figures %}
{% set shown = charts.shown %}
<p>{{ figures.suspects }} of {{ figures.judges | length }} {% if figures.simulated == figures.judges | length %}simulated {% endif %}judges are suspects: the <i>evidence</i> is below. A suspect is a reason to look, not a verdict.{% if figures.with_values %} {{ figures.with_values }} of them {{ "is" if figures.with_values == 1 else "are" }} in a group with values of its own: they may be suspects since they want something else. See “{{ figures.values_title }}”.{% endif %}</p>
<div class="charts">
{{ figure(charts.judges, "Inferred reliability: 1 is a typical judge, 0 carries no information, below 0 answers against the truth. The least reliable first" ~ (", the first " ~ shown ~ " of " ~ figures.judges | length if shown < figures.judges | length else "") ~ ".") }}
{{ figure(charts.truth, "Inferred reliability against the one that the simulation gave each judge.") }}
</div>
<table class="kv">
  {{ row("Rank correlation with the truth", figures.rank_correlation, note="simulated judges") }}
  {% if figures.detection %}{{ row("Dishonest judges who are suspects", figures.detection.caught, "percent") }}
  {{ row("Honest judges who are suspects", figures.detection.wrongly, "percent", "expert or hasty by nature") }}{% endif %}
  {{ row("Agreement, Krippendorff’s α", figures.alpha, note="1 is perfect, 0 is chance") }}
  {{ row("Repeated pairs judged the same", figures.repeat, "percent") }}
</table>
{% if figures.suspects %}<h3>Suspects and the evidence</h3>
<table class="wide-table">
  <thead><tr><th>Judge</th><th>Evidence</th>{% if figures.grouped %}<th>By values</th>{% endif %}<th>Reliability</th></tr></thead>
  {% for s in figures.judges if s.suspect %}<tr><th scope="row">{{ s.id }}</th><td data-label="evidence">{{ s.evidence | join("; ") }}</td>{% if figures.grouped %}<td data-label="by values">{{ s.group or "the largest group" }}</td>{% endif %}{{ cell("reliability", s.reliability) }}</tr>{% endfor %}
</table>{% endif %}
<details><summary>All {{ figures.judges | length }} judges</summary>
<table class="wide-table">
  <thead><tr><th>Judge</th><th>Reliability</th><th>Towards first shown</th><th>Towards longer</th><th>Repeats itself</th><th>Judgments</th><th>Nature</th></tr></thead>
  {% for s in figures.judges %}<tr><th scope="row">{{ s.id }}</th>{{ cells(s) }}</tr>{% endfor %}
</table></details>
<p class="reading">Biases are log-odds: +1 turns an even choice into 73 to 27. The bias towards longer is per standard deviation of the difference in log-length. A bias is evidence when its interval lies beyond ±0.5.</p>
{% else %}{{ absent("The judges’ reliability") }}{% endif %}
"""

    def read(self) -> dict[str, Any] | None:
        if not (estimates := self.source.last(AnnotatorEstimate)):
            return None
        kinds = {a.id: a.kind for a in self.source.ledger.annotators(self.source.run.id)}
        agreement = next(reversed(self.source.last(AnnotatorAgreement).values()), None)
        figures = _figures(estimates, kinds) | {"alpha": agreement and _alpha(agreement)}
        return figures | _by_values(figures["judges"], next(reversed(self.source.last(AnnotatorGroups).values()), None))

    @property
    def _correlation(self) -> Interval | None:
        return self.figures["rank_correlation"] if self.figures else None

    def headline(self) -> dict[str, float | None]:
        r = self._correlation
        return {"annotator_rank_correlation": None if r is None else r.estimate}

    def tiles(self) -> list[Tile]:
        r, label = self._correlation, "Judges: inferred against true"
        if r is None:
            return [Tile(label, None)]
        bounds = f"rank correlation [{number(r.low)}, {number(r.high)}], n = {r.n} simulated"
        return [Tile(label, number(r.estimate), bounds)]

    def claims(self) -> list[str]:
        if not self.figures:
            return []
        total, simulated = len(self.figures["judges"]), self.figures["simulated"]
        kind = "simulated judges" if simulated == total else "judges"
        text, r = f"{self.figures['suspects']} of {total} {kind} are suspect", self._correlation
        if r is not None:
            text += (
                f"; inferred reliability follows the true one with rank correlation {number(r.estimate)}"
                f" (95 % interval {number(r.low)} to {number(r.high)})"
            )
        return [text + "."]

    def charts(self) -> dict[str, Any]:
        judges = self.figures["judges"] if self.figures else []
        known = [j for j in judges if j["true_reliability"] is not None]
        return {
            "judges": _judges_chart(judges[:SHOWN]) if judges else None,
            "shown": min(len(judges), SHOWN),
            "truth": _truth_chart(known) if known else None,
        }

    def limits(self) -> list[str]:
        n = self.figures["simulated"] if self.figures else 0
        told = f"{n} of the judges are simulated. How well their reliability is inferred says little about people."
        return [told] if n else []

    def missing(self) -> list[str]:
        if not self.figures:
            return ["an annotator model (who can be trusted)"]
        names = {
            "alpha": "agreement between annotators",
            "repeat": "repeated items (does a judge agree with itself?)",
            "rank_correlation": "true reliability of the annotators (known in simulations only)",
        }
        return [what for name, what in names.items() if self.figures[name] is None]


# ---------------------------------------------------------------- figures


def _figures(estimates: Mapping[str, AnnotatorEstimate], kinds: Mapping[str, str]) -> dict[str, Any]:
    """The annotators, least reliable first, and how well the estimates match what is known of them.

    ``kinds`` maps an id to human, ai, simulated or programmatic. The rank correlation is Spearman's, of inferred and true
    reliability, None with fewer than 4 known truths. ``detection`` is the share of dishonest, and of honest, simulated
    annotators who are suspects; None unless there are both.
    """
    median = float(np.median([e.reliability for e in estimates.values()]))
    judges = [_judge(name, e, kinds.get(name, "not recorded"), median) for name, e in estimates.items()]
    judges.sort(key=lambda judge: judge["reliability"].estimate)
    known = [judge for judge in judges if judge["true_reliability"] is not None]
    inferred, truth = [j["reliability"].estimate for j in known], [j["true_reliability"] for j in known]
    honest = [judge["suspect"] for judge in judges if judge["nature"] in HONEST]
    dishonest = [judge["suspect"] for judge in judges if judge["nature"] is not None and judge["nature"] not in HONEST]
    shares = {name: wilson(sum(of), len(of)) for name, of in (("caught", dishonest), ("wrongly", honest)) if of}
    repeats, same = (sum(getattr(e, name) for e in estimates.values()) for name in ("repeats", "repeats_same"))
    return {
        "judges": judges,
        "simulated": sum(judge["kind"] == "simulated" for judge in judges),
        "suspects": sum(judge["suspect"] for judge in judges),
        "rank_correlation": rank_correlation(np.array(inferred), np.array(truth))
        if len(known) > 3 and len(set(truth)) > 1
        else None,
        "detection": shares if len(shares) == 2 else None,
        "repeat": wilson(same, repeats) if repeats else None,
    }


def _judge(name: str, e: AnnotatorEstimate, kind: str, median: float) -> dict[str, Any]:
    """One annotator: estimates with 95 % intervals, and ``evidence``, sentences that make it a suspect."""
    reliability = _normal(e.reliability, e.reliability_se, e.judgments)
    assert reliability is not None
    if e.reliability_low is not None and e.reliability_high is not None:
        reliability = Interval(e.reliability, e.reliability_low, e.reliability_high, e.judgments)
    position, length = _normal(e.position, e.position_se, e.judgments), _normal(e.length, e.length_se, e.judgments)
    repeat = wilson(e.repeats_same, e.repeats) if e.repeats else None
    evidence = []
    if reliability.high < 0:
        evidence.append("answers against the truth")
    elif reliability.low <= 0 and reliability.high < median:
        evidence.append("cannot be told from chance, and is surely below the median judge")
    if position is not None and _surely_beyond(position, BIAS):
        evidence.append(f"favours the answer shown {'first' if position.estimate > 0 else 'second'}")
    if length is not None and _surely_beyond(length, BIAS):
        evidence.append(f"favours the {'longer' if length.estimate > 0 else 'shorter'} answer more than the others do")
    if repeat is not None and repeat.high < REPEATS:
        evidence.append(f"repeats its own verdict in {percent(repeat.estimate)} of {repeat.n} repeats")
    if e.feature is not None:
        where = f"{e.agreed_inside} of {e.inside} judgments where the prompt has “{e.feature}”"
        elsewhere = f"{e.agreed_outside} of {e.outside} elsewhere (corrected p = {number(e.p_adjusted, 2)})"
        evidence.append(f"agrees with the others in {where}, in {elsewhere}")
    own = {"position": position, "length": length, "repeat": repeat, "evidence": evidence, "suspect": bool(evidence)}
    known = {name: getattr(e, name) for name in ("judgments", "nature", "true_reliability")}
    return {"id": name, "kind": kind, "reliability": reliability} | own | known


def _by_values(judges: Sequence[dict[str, Any]], groups: AnnotatorGroups | None) -> dict[str, Any]:
    """How many suspects may want something else; tells each judge's ``group`` where it is not the largest one."""
    readings = groups.readings if groups is not None else []
    own = {name: reading for reading in readings for name in reading["annotators"]}
    for judge in judges:
        reading = own.get(judge["id"])
        told = "values of its own" if reading and reading["own_values"] else "minority or poisoners, not told apart"
        judge["group"] = f"group {reading['group']}: {told}" if reading else ""
    suspects = [own[judge["id"]] for judge in judges if judge["suspect"] and judge["id"] in own]
    return {
        "grouped": bool(readings),
        "with_values": sum(bool(reading["own_values"]) for reading in suspects),
        "values_title": ValuesSection.title,
    }


def _surely_beyond(interval: Interval, limit: float) -> bool:
    return interval.low > limit or interval.high < -limit


def _normal(estimate: float | None, se: float | None, n: int) -> Interval | None:
    if estimate is None or se is None:
        return None
    half = normal_quantile(0.95) * se
    return Interval(estimate, estimate - half, estimate + half, n)


def _alpha(row: AnnotatorAgreement) -> Interval:
    low = -np.inf if row.alpha_low is None else row.alpha_low
    return Interval(row.alpha, low, np.inf if row.alpha_high is None else row.alpha_high, row.items)


# ---------------------------------------------------------------- charts


def _judges_chart(judges: Sequence[Mapping[str, Any]]) -> str:
    """Inferred reliability of each annotator with its interval, the least reliable on top; suspects are hollow."""
    rows = [
        charts.interval_span(j["reliability"], "x")
        | {
            "judge": j["id"],
            "mark": "suspect" if j["suspect"] else "trusted",
            "note": f"{plain_name(j['nature'] or j['kind'])} (n = {j['judgments']})",
        }
        for j in judges
    ]
    order = [r["judge"] for r in rows]
    y = alt.Y("judge:N", sort=order, title=None, axis=alt.Axis(ticks=False, domain=False, labelLimit=130))
    base = alt.Chart(charts.chart_data(rows)).encode(y=y)
    title = "inferred reliability, 95 % interval"
    layers = [
        charts.vertical_rule(0, charts.GREY, title),
        base.mark_rule(color=charts.INK).encode(x=alt.X("low:Q", title=title), x2="high:Q"),
        charts.named_marks(base, ["suspect", "trusted"], "mark").encode(
            x=alt.X("x:Q", title=title, axis=alt.Axis(tickCount=4))
        ),
        base.mark_text(align="left", dx=8, color=charts.GREY, fontSize=12).encode(
            x=alt.value(charts.WIDTH - 105), text="note:N"
        ),
    ]
    chart = alt.layer(*layers).properties(width=charts.WIDTH - 105, height=alt.Step(17))
    about = f"Inferred reliability of {len(rows)} annotators with 95 % intervals; suspects are hollow squares."
    return charts.inline_svg(chart, about)


def _truth_chart(judges: Sequence[Mapping[str, Any]]) -> str:
    """Inferred against true reliability of simulated annotators, one shape per nature."""
    rows = [
        charts.interval_span(j["reliability"], "y")
        | {"truth": j["true_reliability"], "nature": plain_name(j["nature"] or "unknown")}
        for j in judges
    ]
    natures = sorted({r["nature"] for r in rows})
    scale = alt.Scale(zero=False, padding=12)
    x = alt.X("truth:Q", title="true reliability (simulated)", scale=scale, axis=alt.Axis(tickCount=5))
    shapes = alt.Scale(domain=natures, range=list(SHAPES[: len(natures)]))
    base = alt.Chart(charts.chart_data(rows)).encode(x=x)
    layers = [
        base.mark_rule(color=charts.GREY).encode(y=alt.Y("low:Q", title="inferred reliability"), y2="high:Q"),
        base.mark_point(size=60, filled=True, fill=charts.HOLLOW, stroke=charts.INK, strokeWidth=1.4, opacity=1).encode(
            y=alt.Y("y:Q", title="inferred reliability", scale=scale),
            shape=alt.Shape("nature:N", scale=shapes, legend=charts.chart_legend(columns=3)),
        ),
    ]
    about = f"Inferred against true reliability of {len(rows)} simulated annotators, with 95 % intervals."
    return charts.inline_svg(alt.layer(*layers).properties(width=charts.WIDTH, height=charts.HEIGHT + 40), about)
