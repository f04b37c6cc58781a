"""``report.html`` and ``report.json`` of an evaluation of critics: the same content twice."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from custodes.critic.line_training import LINE_TITLES
from custodes.job.recording import folder_head
from custodes.page import Report, Section, charts, plain_name, save_report
from custodes.page.drawing import alt
from custodes.stats import CalibrationBin, Interval

LINES = {name: title for name, title in LINE_TITLES.items() if name not in ("chance", "findings")}
LINES |= {"confidence_error": "calibration error of the likeliest line"}
POLICIES = {
    "cbi": "bugs included (CBI)",
    "located": "bugs located",
    "comprehensiveness": "comprehensiveness, 1 to 7",
    "hallucinations": "hallucinations",
    "nitpicks": "nitpicks",
    "conciseness": "conciseness, 1 to 7",
    "false_alarms": "clean functions with a finding",
    "tokens": "tokens drawn",
}
"""What is measured of policies that write critiques."""
UNPAIRED = ("false_alarms", "tokens")
"""Of these no differences are shown."""
WIDE, HIGH = 620, 360  # of the frontier, whose points are named
Rows = list[tuple[str, list[Any]]]
"""Of a table: the row's name, and its cells."""


def write_critics_page(evaluation: Mapping[str, Any], folder: Path) -> Path:
    """Write the evaluation of critics. Raises InputError where ``folder`` cannot be written."""
    tuned = f" · written critiques: {evaluation['tuned']}" if evaluation["tuned"] else ""
    report = Report(
        kind="Custodes · critics of code",
        title="How good the critics are",
        subtitle=f"{evaluation['data']} · scorer of lines: {evaluation['critic']}{tuned}",
        about=f"Intervals are at 95 %. Critiques are rated by {evaluation['raters']}.",
        sections=[
            _SplitsSection(evaluation["splits"]),
            *(_SplitSection((evaluation, name), f"split-{k}", name) for k, name in enumerate(evaluation["splits"])),
        ],
        head=folder_head(folder),
    )
    return save_report(report, folder / "report.html", (folder / "report.json", evaluation))


class _SplitsSection(Section[Mapping[str, Any]]):
    """The scorer of lines on every split."""

    title = "Splits side by side"
    template = """
{{ figure(charts.splits, "The tick is what a line drawn blindly would reach.") }}
{{ intervals(source | list, section.rows) }}
"""

    @property
    def rows(self) -> Rows:
        return [(title, [split["lines"][key] for split in self.source.values()]) for key, title in LINES.items()]

    def charts(self) -> dict[str, str]:
        """How often the likeliest line is the bug's, with the blind guess beside it."""
        lines = {name: split["lines"] for name, split in self.source.items() if split["lines"]["at_1"]["n"]}
        rows = [{"split": name, "chance": of["chance"], **of["at_1"]} for name, of in lines.items()]
        axis = alt.Axis(ticks=False, domain=False)
        y = alt.Y("split:N", title=None, sort=[r["split"] for r in rows], axis=axis)
        title = "likeliest line is the bug's, 95 % interval"
        x = alt.X("estimate:Q", title=title, scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format=".0%"))
        base = alt.Chart(charts.chart_data(rows)).encode(y=y)
        tick = base.mark_tick(color=charts.GREY, thickness=2, size=12)
        layers = [
            base.mark_rule(color=charts.INK).encode(x=alt.X("low:Q", title=title), x2="high:Q"),
            base.mark_point(size=60, filled=True, fill=charts.INK, opacity=1).encode(x=x),
            tick.encode(x=alt.X("chance:Q", title=title)),
        ]
        about = "Share of tampered functions whose likeliest line is the bug's, by split; ticks are blind guesses."
        return {"splits": charts.inline_svg(alt.layer(*layers).properties(height=alt.Step(26)), about)}


class _SplitSection(Section[tuple[Mapping[str, Any], str]]):
    """One split: the policies that write critiques side by side, and how subtle the bugs are. Tables are ready as rows."""

    template = """
{% set f = figures %}
{{ figure(charts.frontier, "Up and to the left is better. Filled: no other policy includes more bugs with no more false or petty findings.") }}
{{ figure(charts.calibration, "The scorer's probability of a bug anywhere in a function, in bins of equally many functions.") }}
{% if f.n is defined %}
<h3>Policies on the same {{ f.n }} functions, {{ f.clean }} of them clean</h3>
{{ intervals(f.measures, f.policies) }}
{% if f.runs %}<p class="reading">Findings with evidence are rated by running: a test of theirs that fails here and passes without the bug points the bug out. {{ f.runs }}.</p>{% endif %}
<h3>Nitpicks by category</h3>
{% if f.petty %}<p class="reading">In a critique, of the categories of which anybody has one.</p>{{ intervals(f.petty, f.nitpicks) }}
{% else %}<p class="reading">No critique holds one.</p>{% endif %}
{% if f.judge %}
<h3>A model as judge of descriptions</h3>
<p class="reading">{{ f.judge.judge }} was asked of every comment on a bug's lines whether it describes the bug; {{ f.judge.comments }} verdicts, and {{ f.judge.unread }} that could not be read. The rules go on counting what is included. Intervals are over functions.</p>
<table class="kv">{{ row("says the same as the rules", f.judge.share) }}{{ row("Cohen's kappa", f.judge.kappa) }}</table>
{{ intervals(["bugs included by the rules", "by the judge"], f.judged) }}
{% endif %}
{% if f.paper %}
<h3>What the CriticGPT paper found, looked for here</h3>
<p class="reading">Each is decided by a paired 95 % interval over the same functions (arXiv 2407.00215).</p>
<div class="scroll"><table class="wide-table"><thead><tr><th>Finding</th><th>Here</th><th>Measured</th></tr></thead>
<tbody>{% for one in f.paper %}<tr><th scope="row">{{ one.finding }}</th><td data-label="here"><b>{{ one.verdict }}</b></td><td data-label="measured">{{ one.measured }}</td></tr>
{% endfor %}</tbody></table></div>
{% endif %}
{% if f.elo %}
<h3>Elo on each scale</h3>
<p class="reading">From all pairs of critiques of a problem, ties half; intervals from a bootstrap over problems. On nitpicks and hallucinations fewer is better.</p>
{{ intervals(f.axes, f.elo) }}
{% endif %}
<details><summary>Every two policies, paired by function</summary>
<div class="scroll"><table class="wide-table">
<thead><tr><th></th>{% for title in f.paired_measures %}<th>{{ title }}</th>{% endfor %}</tr></thead>
<tbody>{% for name, cells in f.paired %}<tr><th scope="row">{{ name }}</th>{% for x in cells %}<td data-label="{{ f.paired_measures[loop.index0] }}">{{ interval(x, "signed", n=false) }}{% if x.n %} <small>{{ x.test }}, {{ x.p | p_value }}</small>{% endif %}</td>{% endfor %}</tr>
{% endfor %}</tbody></table></div></details>
{% if f.agreement %}
<h3>Agreement of simulated raters</h3>
<p class="reading">Krippendorff's alpha of {{ source[0].simulated_raters }} raters who know the bug and err as they state; intervals from a bootstrap over critiques.</p>
<table class="kv">{% for axis, alpha in f.agreement.items() %}{{ row(axis, alpha) }}{% endfor %}</table>
{% endif %}
{% endif %}
{% if f.operators %}
<h3>How subtle the bugs are</h3>
<p class="reading">Tampered functions told from clean ones by the scorer, operator by operator, the subtlest first: 0.5 is chance.</p>
{{ intervals(["area under ROC", "likeliest line is the bug's"], f.operators) }}
{% endif %}
"""

    def read(self) -> dict[str, Any]:
        split = self.source[0]["splits"][self.source[1]]
        operators = {plain_name(name): [of["discrimination"], of["at_1"]] for name, of in split["operators"].items()}
        return {"operators": list(operators.items())} | (_tables(split["policies"]) if "policies" in split else {})

    def charts(self) -> dict[str, str]:
        split, drawn = self.source[0]["splits"][self.source[1]], {"frontier": "", "calibration": ""}
        if "policies" in split:
            drawn["frontier"] = _frontier_chart(split["policies"]["frontier"])
        if curve := split["lines"]["curve"]:
            bins = [CalibrationBin(b["predicted"], Interval.from_dict(b["observed"])) for b in curve]
            drawn["calibration"] = charts.reliability_chart(
                {"scorer": bins}, "stated probability of a bug", "share with a bug", lowest=0
            )
        return drawn


def _tables(compared: Mapping[str, Any]) -> dict[str, Any]:
    """What is said of the policies, as rows of tables."""
    policies, judge = compared["policies"], compared.get("judge")
    categories = next(iter(policies.values()))["nitpick_categories"]
    petty = [c for c in categories if any(m["nitpick_categories"][c]["estimate"] for m in policies.values())]
    paired = {key: title for key, title in POLICIES.items() if key not in UNPAIRED}
    return {
        **{key: compared.get(key) for key in ("n", "clean", "paper", "agreement", "judge", "runs")},
        "measures": list(POLICIES.values()),
        "policies": [(name, [m.get(key) for key in POLICIES]) for name, m in policies.items()],
        "petty": petty,
        "nitpicks": [(name, [m["nitpick_categories"][c] for c in petty]) for name, m in policies.items()],
        "judged": [(name, [policies[name]["cbi"], cbi]) for name, cbi in judge["cbi"].items()] if judge else [],
        "axes": list(compared["elo"]),
        "elo": [(name, [axis.get(name) for axis in compared["elo"].values()]) for name in policies if compared["elo"]],
        "paired_measures": list(paired.values()),
        "paired": [(name, [of[key] for key in paired]) for name, of in compared["paired"].items()],
    }


def _frontier_chart(points: Sequence[Mapping[str, Any]]) -> str:
    """Bugs included against what is false or petty in a critique; policies that none beats are filled and joined.

    Of a search's many modifiers (names with a comma and a number) only those that none beats are named.
    """
    rows = [
        {"x": p["false_or_petty"], "y": p["cbi"], "label": p["policy"], "best": p["on_frontier"]}
        for p in points
        if p["cbi"] is not None
    ]
    best, others = [r for r in rows if r["best"]], [r for r in rows if not r["best"]]
    far = max([r["x"] for r in rows], default=0) or 1.0
    scale = alt.Scale(domain=[0, 1.08 * far], nice=False)
    x = alt.X("x:Q", title="hallucinations and nitpicks in a critique", scale=scale, axis=alt.Axis(tickCount=10))
    y = alt.Y("y:Q", title="bugs included (CBI)", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format=".0%"))
    line = alt.Chart(charts.chart_data(sorted(best, key=lambda r: (r["x"], r["y"])))).mark_line(
        color=charts.GREY, interpolate="step-after", strokeDash=[4, 3]
    )
    marks = [
        charts.point_marks(alt.Chart(charts.chart_data(of)).encode(x=x), y, charts.INK, filled=of is best)
        for of in (best, others)
    ]
    named = [r for r in rows if r["best"] or not re.search(r", .*\d", r["label"])]
    layers = [line.encode(x=x, y=y), *marks, *charts.end_labels(named, x, y, 1.0, HIGH, top=1.0)]
    about = f"Bugs included against false and petty findings of {len(rows)} policies."
    return charts.inline_svg(alt.layer(*layers).properties(width=WIDE, height=HIGH), about, 210)
