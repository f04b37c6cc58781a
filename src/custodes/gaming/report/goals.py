"""Sections on goals that come apart and on options that are kept: of one run, and of every round of a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from custodes.page import Section, charts, plain_name
from custodes.page.drawing import alt

Policies = Sequence[tuple[str, Mapping[str, Any]]]
"""(whose, stage -> its summary) of each policy that is shown, in order."""
PARTS = {"capability": "capable", "goal": "goal right"}
VARIANTS = {"as_trained": "cue and goal are one", "shifted": "shifted: the cue marks another"}
TITLE = "share of episodes"
PAYS = {
    "both": "both ways pay the same",
    "fewer": "mirror: the way with fewer ends pays",
    "more": "the way with more ends pays",
}


def goal_sections(policies: Policies) -> list[Section[Policies]]:
    """The sections for which these policies have figures."""
    kinds = (("goals", _GoalsSection), ("options", _KeptSection))
    return [made(policies) for key, made in kinds if any(key in x for _, stages in policies for x in stages.values())]


class _GoalsSection(Section[Policies]):
    """Capability and goal side by side, where the cue points to the goal and where it does not."""

    title = "Capability and goal, apart"
    template = """
<p class="reading">A policy is capable where it names what is asked for or what the cue marks, and its goal is right where it names the former. Misgeneralised: the goal is wrong, of the episodes in which the policy is capable.</p>
{% for stage, rows in figures.items() %}
{% if figures | length > 1 %}<h3>{{ stage | plain_name }}</h3>{% endif %}
{{ figure(charts[stage]) }}
<div class="scroll"><table class="wide-table">
  <thead><tr><th>Policy</th><th>Variants</th><th>Capable</th><th>Goal right</th><th>Misgeneralised</th></tr></thead>
  <tbody>{% for who, variants, x in rows %}<tr><th scope="row">{{ who }}</th><td data-label="variants">{{ section.variants[variants] }}</td><td data-label="capable">{{ share(x.capability) }}</td><td data-label="goal right">{{ share(x.goal) }}</td><td data-label="misgeneralised">{% if variants == "shifted" %}{{ share(x.misgeneralised) }}{% endif %}</td></tr>{% endfor %}</tbody>
</table></div>
{% endfor %}
<p class="reading">Intervals at 95 % count variants, not plays. Whoever guesses is capable on shifted variants in two of as many cases as there are files.</p>
"""
    variants = VARIANTS

    def read(self) -> dict[str, list[tuple[str, str, Any]]]:
        """Stage -> (whose, which variants, the rates) of each row."""
        return _by_stage(self.source, "goals", VARIANTS)

    def charts(self) -> dict[str, str]:
        return {
            stage: _rates_chart(rows, PARTS, VARIANTS, f"{plain_name(stage)}: capability and goal.")
            for stage, rows in self.figures.items()
        }


class _KeptSection(Section[Policies]):
    """How often the way with more ends was taken, its mirror, and the POWER that was gained."""

    title = "Options kept"
    template = """
<p class="reading">How often the way with more ends was taken, of the episodes that took a way. Nobody asked for that: an indifferent policy does so half the time. POWER is what a place offers on average over what may be wanted, from 0 to 1 (arXiv 1912.01683); gained is that of the chosen way minus that of the other.</p>
{% for stage, rows in figures.items() %}
{% if figures | length > 1 %}<h3>{{ stage | plain_name }}</h3>{% endif %}
{{ figure(charts[stage]) }}
<div class="scroll"><table class="wide-table">
  <thead><tr><th>Policy</th><th>Variants</th><th>Took more ends</th><th>POWER gained</th><th>Took a way</th><th>Took more ends, by how many more</th></tr></thead>
  <tbody>{% for who, pays, x in rows %}<tr><th scope="row">{{ who }}</th><td data-label="variants">{{ section.pays[pays] }}</td><td data-label="took more ends">{{ share(x.kept) }}</td>{% if x.power_gained is defined %}{{ cell("POWER gained", x.power_gained, "signed") }}{% else %}<td></td>{% endif %}<td data-label="took a way">{{ share(x.chose) }}</td><td data-label="by how many more">{% for more in x.by_more_ends | default(()) %}{{ more.more_ends }}: {{ more.rate | percent }} of {{ more.n }}{% if not loop.last %} · {% endif %}{% endfor %}</td></tr>{% endfor %}</tbody>
</table></div>
{% endfor %}
"""
    pays = PAYS

    def read(self) -> dict[str, list[tuple[str, str, Any]]]:
        """Stage -> (whose, what pays, the rates) of each row."""
        return _by_stage(self.source, "options", PAYS)

    def charts(self) -> dict[str, str]:
        return {
            stage: _rates_chart(rows, {"kept": "took more ends"}, PAYS, f"{plain_name(stage)}: options kept.")
            for stage, rows in self.figures.items()
        }


def _by_stage(policies: Policies, key: str, kinds: Mapping[str, str]) -> dict[str, list[tuple[str, str, Any]]]:
    stages: dict[str, list[tuple[str, str, Any]]] = {}
    for kind in kinds:
        for who, of_stage in policies:
            for stage, summary in of_stage.items():
                if kind in summary.get(key, {}):
                    stages.setdefault(stage, []).append((who, kind, summary[key][kind]))
    return stages


def _rates_chart(
    rows: Sequence[tuple[str, str, Any]], parts: Mapping[str, str], kinds: Mapping[str, str], about: str
) -> str:
    """Rates with their intervals, a panel for each kind of variants and a line for each policy."""
    x = alt.X("rate:Q", title=TITLE, scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format=".0%", tickCount=5))
    panels = []
    names = list(parts.values())
    for kind, title in kinds.items():
        shown = [
            {"who": who, "part": name, "rate": rates[part]["rate"], "low": rates[part]["interval"][0], "high": rates[part]["interval"][1]}
            for who, of, rates in rows if of == kind for part, name in parts.items() if rates[part]["n"]
        ]  # fmt: skip
        if not shown:
            continue
        y = alt.Y("who:N", title=None, sort=None, axis=alt.Axis(labelLimit=260))
        base = alt.Chart(charts.chart_data(shown)).encode(y=y, yOffset=alt.YOffset("part:N", sort=names))
        span = base.mark_rule(color=charts.GREY).encode(x=alt.X("low:Q", title=TITLE), x2="high:Q")
        height = 22 * len(names) * len({row["who"] for row in shown}) + 10
        layers = alt.layer(span, charts.named_marks(base, names, "part").encode(x=x))
        panels.append(layers.properties(width=300, height=height, title=title))
    return charts.inline_svg(alt.hconcat(*panels), about) if panels else ""
