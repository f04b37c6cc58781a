"""Exchanged facts: does the new answer come, in other words too, and do the neighbours stay?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from custodes.audit.edit_measures import EditedFact, EditSet
from custodes.audit.record import RunSection
from custodes.page import Tile, percent
from custodes.page.charts import BLUE, GREY, RUST, chart_data, chart_legend, inline_svg
from custodes.page.drawing import alt
from custodes.page.numbers import points
from custodes.registry import section
from custodes.stats import Interval, mean_interval, paired_difference

ARMS = {"before": "before", "alone": "this fact alone", "together": "all at once"}
WITHIN = 0.05
"""How far neighbours may move on average."""
MEASURES = {
    "new": ("P(the new answer)", "efficacy"),
    "old": ("P(the old answer)", ""),
    "paraphrases": ("P(the new answer), asked in other words", "paraphrases"),
    "neighbours": ("P(the right answer) of neighbours", "questions about others, which should stay"),
}


@section
class EditsSection(RunSection):
    """Efficacy, paraphrases and neighbours of exchanged facts; absent where none was exchanged."""

    title = "Exchanged facts"
    place = 37.5
    rank = 7.5
    template = """
{% if figures %}
<p>{{ figures.facts | length | number }} facts of {{ figures.source }} were exchanged in <code>{{ figures.model }}</code>, each by a rank-one update of the down-projection of layer {{ figures.layer }}, where layers count from 0 to {{ figures.layers - 1 }} (<a href="https://arxiv.org/abs/2202.05262">2202.05262</a>). Keys of other things were counted over {{ figures.tokens | number }} tokens of text.</p>
<div class="scroll"><table class="wide-table"><thead><tr><th></th>{% for arm in figures.arms.values() %}<th>{{ arm }}</th>{% endfor %}<th>alone minus before</th>{% if "together" in figures.arms %}<th>all minus before</th>{% endif %}</tr></thead>
<tbody>{% for m in figures.measures %}<tr><th scope="row">{{ m.name }}{% if m.note %}<small>{{ m.note }}</small>{% endif %}</th>{% for arm in figures.arms %}{% if m.levels.get(arm) %}{{ cell(arm, m.levels[arm], "percent", true) }}{% else %}<td>–</td>{% endif %}{% endfor %}{% for arm in figures.arms if arm != "before" %}{% if m.changes.get(arm) %}{{ cell(arm ~ " minus before", m.changes[arm], "points") }}{% else %}<td>–</td>{% endif %}{% endfor %}</tr>{% endfor %}
{% if figures.moved %}<tr><th scope="row">How far a neighbour moves<small>mean of what each moves, up or down, in points</small></th><td>–</td>{% for arm in figures.arms if arm != "before" %}{{ cell(arm, figures.moved[arm], "points") }}{% endfor %}{% for arm in figures.arms if arm != "before" %}<td>–</td>{% endfor %}</tr>{% endif %}</tbody></table></div>
<p class="none">Intervals are over facts; differences are in points.</p>
{% for caption, svg in charts.items() %}{{ figure(svg, caption) }}{% endfor %}
{% if figures.tried %}<p class="reading">The layer was chosen by other facts. What each was worth (P(new) in its own and in other words, less four times what neighbours moved): {% for layer, worth in figures.tried.items() %}layer {{ layer }} {{ worth | number }}{% if not loop.last %}, {% endif %}{% endfor %}.</p>{% endif %}
<h3>Fact by fact</h3>
<div class="scroll"><table class="wide-table"><thead><tr><th>Asked</th><th>old</th><th>new</th>{% for arm in figures.arms.values() %}<th>P(new), {{ arm }}</th>{% endfor %}<th>other words, alone</th><th>neighbours, alone minus before</th></tr></thead>
<tbody>{% for f in figures.facts %}<tr><th scope="row">{{ f.prompt }}</th><td>{{ f.old_answer or "–" }}</td><td>{{ f.new_answer }}</td>{% for arm in figures.arms %}<td data-label="{{ arm }}">{{ f.new[arm] | percent }}</td>{% endfor %}<td data-label="other words">{{ f.paraphrases | percent if f.paraphrases is not none else "–" }}</td><td data-label="neighbours">{{ f.neighbours | form("points") if f.neighbours is not none else "–" }}</td></tr>{% endfor %}</tbody></table></div>
{% endif %}
"""

    def read(self) -> dict[str, Any] | None:
        sets, rows = self.source.last(EditSet), self.source.rows(EditedFact)
        if not sets or "before" not in rows:
            return None
        made = next(iter(sets.values()))
        arms = {arm: sorted(rows[arm], key=lambda row: row.number) for arm in ARMS if arm in rows}
        arms = {arm: own for arm, own in arms.items() if len(own) == len(arms["before"])}
        return {
            "model": made.model,
            "source": made.source,
            "layer": made.layer,
            "layers": made.layers,
            "tokens": made.tokens,
            "tried": made.tried,
            "arms": {arm: ARMS[arm] for arm in arms},
            "measures": [m for name in MEASURES if (m := _measure(name, arms))],
            "moved": {arm: x for arm in arms if arm != "before" and (x := _moved(arms[arm], arms["before"]))},
            "facts": [_fact(number, arms) for number in range(len(arms["before"]))],
        }

    def tiles(self) -> list[Tile]:
        if not self.figures or "alone" not in self.figures["arms"]:
            return []
        new = self.figures["measures"][0]["levels"]
        tiles = [Tile("P(the new answer)", percent(new["alone"].estimate), f"before {percent(new['before'].estimate)}")]
        if change := self._neighbours("alone"):
            tiles.append(Tile("neighbours", points(change.estimate), "points, on average"))
        return tiles

    def claims(self) -> list[str]:
        if not self.figures or "alone" not in self.figures["arms"]:
            return []
        f, claims = self.figures, []
        for arm in [arm for arm in f["arms"] if arm != "before"]:
            levels = f["measures"][0]["levels"]
            told = sum(fact["new"][arm] > 0.5 for fact in f["facts"])
            claims.append(
                f"With {'one fact exchanged at a time' if arm == 'alone' else 'all facts exchanged at once'}, P(the new answer) "
                f"goes from {percent(levels['before'].estimate)} to {_bounded(levels[arm])}; it is above one half for {told} of "
                f"{len(f['facts'])} facts."
            )
            if change := self._neighbours(arm):
                stay = abs(change.low) <= WITHIN and abs(change.high) <= WITHIN
                claims.append(
                    f"Neighbours move by {points(change.estimate)} points on average, 95 % interval {points(change.low)} to "
                    f"{points(change.high)}: {'within' if stay else 'not surely within'} {100 * WITHIN:.0f} points."
                )
        return claims

    def _neighbours(self, arm: str) -> Interval | None:
        found = [m for m in self.figures["measures"] if m["key"] == "neighbours"]
        return found[0]["changes"].get(arm) if found else None

    def charts(self) -> dict[str, str]:
        if not self.figures or "alone" not in self.figures["arms"]:
            return {}
        return {"P(the new answer) of each fact.": _facts_chart(self.figures)}

    def limits(self) -> list[str]:
        if not self.figures:
            return []
        limits = ["An exchanged answer is not exchanged knowledge: what follows from it is not asked here."]
        if not self.figures["moved"]:
            limits.append("No neighbours were given, so nobody knows what else changed.")
        return limits


def _measure(name: str, arms: dict[str, list[EditedFact]]) -> dict[str, Any] | None:
    """Levels and changes of one measure, over the facts that have it."""
    values = {arm: [_mean(getattr(row, name)) for row in rows] for arm, rows in arms.items()}
    kept = [i for i, x in enumerate(values["before"]) if x is not None]
    if not kept:
        return None
    known = {arm: np.array([own[i] for i in kept], float) for arm, own in values.items()}
    title, note = MEASURES[name]
    return {
        "key": name,
        "name": title,
        "note": note,
        "levels": {arm: mean_interval(x).within(0.0, 1.0) for arm, x in known.items()},
        "changes": {
            arm: paired_difference(x, known["before"]).within(-1.0, 1.0) for arm, x in known.items() if arm != "before"
        },
    }


def _mean(value: float | Sequence[float] | None) -> float | None:
    if isinstance(value, list):
        return float(np.mean(value)) if value else None
    return value  # type: ignore[return-value]


def _moved(rows: Sequence[EditedFact], before: Sequence[EditedFact]) -> Interval | None:
    moved = [
        float(np.abs(np.array(row.neighbours) - np.array(was.neighbours)).mean())
        for row, was in zip(rows, before, strict=True)
        if row.neighbours
    ]
    return mean_interval(moved) if moved else None


def _fact(number: int, arms: dict[str, list[EditedFact]]) -> dict[str, Any]:
    of_arm = {arm: rows[number] for arm, rows in arms.items()}
    before, alone = of_arm["before"], of_arm.get("alone", of_arm["before"])
    near = [_mean(row.neighbours) for row in (alone, before)]
    return {
        "prompt": before.prompt,
        "old_answer": before.old_answer,
        "new_answer": before.new_answer,
        "new": {arm: row.new for arm, row in of_arm.items()},
        "paraphrases": _mean(alone.paraphrases),
        "neighbours": None if near[0] is None or near[1] is None else near[0] - near[1],
    }


def _bounded(x: Interval) -> str:
    return f"{percent(x.estimate)} [{percent(x.low)}, {percent(x.high)}]"


def _facts_chart(figures: dict[str, Any]) -> str:
    arms = list(figures["arms"].values())
    rows = [
        {"fact": fact["prompt"], "x": fact["new"][arm], "arm": title}
        for fact in figures["facts"]
        for arm, title in figures["arms"].items()
    ]
    y = alt.Y("fact:N", title=None, sort=[f["prompt"] for f in figures["facts"]], axis=alt.Axis(labelLimit=330))
    x = alt.X(
        "x:Q", title="P(the new answer)", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format=".0%", tickCount=6)
    )
    inks, shapes = [GREY, BLUE, RUST][: len(arms)], ["square", "circle", "triangle-up"][: len(arms)]
    marks = alt.Chart(chart_data(rows)).mark_point(size=52, filled=True, opacity=1).encode(
        x=x, y=y,
        color=alt.Color("arm:N", scale=alt.Scale(domain=arms, range=inks), legend=chart_legend()),
        shape=alt.Shape("arm:N", scale=alt.Scale(domain=arms, range=shapes), legend=chart_legend()),
    )  # fmt: skip
    return inline_svg(
        marks.properties(height=18 * len(figures["facts"])),
        "Probability of the new answer to each fact, before and after.",
    )
