"""Whose values: groups of judges that prefer other things than the rest, and how well a reward serves each."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from custodes.audit.record import RunSection
from custodes.audit.rows import Row
from custodes.page import Tile, number, percent, plain_name
from custodes.registry import section
from custodes.stats import Interval, rate

LEAST = 0.3
"""Log-odds per standard deviation below which a weight is not worth a word."""


@dataclass(frozen=True, kw_only=True)
class AnnotatorGroups(Row):
    """Groups of annotators, found from what they prefer; ``subject`` is "annotators". The largest group comes first.

    ``readings`` are of ``reward.group_choice.GroupReading``. What people value is known for simulated annotators only.
    """

    NAME: ClassVar[str] = "annotator_groups"
    ALIGNED = ("annotator", "membership", "values", "nature")

    features: list[str]
    weights: list[list[float]]  # (G, d) log-odds per standard deviation of each feature
    annotator: list[str]
    membership: list[list[float]]  # (K, G)
    gains: list[float]  # nats of held-out judgments: of 2 groups over 1, of 3 over 2
    readings: list[dict[str, Any]]
    unit: str = "log-odds per standard deviation"
    r2: dict[str, Any] | None = None  # of ``reward.spread.Spread``
    values: list[str | None] | None = None  # name of the value profile
    nature: list[str | None] | None = None


@dataclass(frozen=True, kw_only=True)
class RewardOfGroups(Row):
    """A reward against single held-out judgments, ties left out; ``subject`` is the arm. One entry for each judgment."""

    NAME: ClassVar[str] = "reward_of_groups"
    ALIGNED = ("group", "agreed", "task")

    group: list[int]  # likeliest group of who judged, from 1
    agreed: list[float]  # 1 where the reward orders the two as they did
    task: list[str]


@section
class ValuesSection(RunSection):
    """Who belongs to which group, what a group prefers, both readings of it, and the reward's accuracy for each."""

    title = "Whose values the reward holds"
    place = 22
    rank = 22
    template = """
{% if figures %}
<p>{{ figures.groups | length }} {{ "group" if figures.groups | length == 1 else "groups" }} of {{ figures.annotators }} {% if figures.simulated %}simulated {% endif %}judges, by what they prefer. {% if figures.groups | length > 1 %}On average a judge’s likeliest group has the probability {{ figures.certainty | number }}.{% else %}These judgments do not show that anybody’s values differ.{% endif %}</p>
<table class="wide-table">
  <thead><tr><th>Group</th><th>Judges</th><th>Prefers, by {{ figures.unit }}</th>{% for arm in figures.accuracy %}<th>Accuracy of the {{ "" if arm == "reward" else arm ~ " " }}reward</th>{% endfor %}{% if figures.simulated %}<th>What the simulation gave them</th>{% endif %}</tr></thead>
  {% for g in figures.groups %}<tr><th scope="row">{{ g.number }}</th><td data-label="judges">{{ g.judges }}</td><td data-label="prefers">{{ g.prefers }}</td>{% for arm, cells in figures.accuracy.items() %}{{ cell("accuracy, " ~ arm, cells.get(g.number), "percent", true) }}{% endfor %}{% if figures.simulated %}<td data-label="simulated">{{ g.truth }}</td>{% endif %}</tr>{% endfor %}
</table>
{% for reading in figures.readings %}
<h3>Group {{ reading.group }}: {{ reading.annotators | join(", ") }}</h3>
{% for sentence in reading.readings %}<p>{{ sentence }}</p>{% endfor %}
{% endfor %}
{% if figures.r2 %}<table class="kv">
  {{ row("r², what replies explain of their worth", figures.r2.r2) }}
  {{ row("r² of judges with this noise who do not disagree", figures.r2.one_group, note="simulated") }}
</table>{% endif %}
{% if figures.readings %}<p class="reading">Judgments alone do not say which reading is right: a person decides. <code>custodes feedback annotators --judgments LEDGER --groups {{ figures.groups | length }} --decide 2=minority</code> records what was decided.</p>{% endif %}
{% else %}{{ absent("Groups of judges") }}{% endif %}
"""

    def read(self) -> dict[str, Any] | None:
        row = next(reversed(self.source.last(AnnotatorGroups).values()), None)
        if row is None:
            return None
        membership = np.array(row.membership)
        likeliest = membership.argmax(axis=1)
        groups = []
        for g, weights in enumerate(row.weights):
            own = np.flatnonzero(likeliest == g)
            order = [i for i in np.argsort(-np.abs(weights)) if abs(weights[i]) >= LEAST]
            prefers = ", ".join(f"{row.features[i]} {number(weights[i], 2)}" for i in order) or "nothing strongly"
            groups.append({"number": g + 1, "judges": len(own), "prefers": prefers, "truth": _truth(row, own)})
        accuracy = {arm: _by_group(of_arm, len(groups)) for arm, of_arm in self.source.last(RewardOfGroups).items()}
        return {
            "groups": groups,
            "annotators": len(row.annotator),
            "certainty": float(membership.max(axis=1).mean()),
            "unit": row.unit,
            "r2": row.r2 and {name: Interval.from_dict(row.r2[name]) for name in ("r2", "one_group")},
            "gains": row.gains,
            "readings": row.readings,
            "simulated": bool(row.values and any(row.values)),
            "found": _found(row, likeliest),
            "accuracy": accuracy,
            "worst": {arm: min(cells.values(), key=lambda x: x.estimate) for arm, cells in accuracy.items() if cells},
        }

    def tiles(self) -> list[Tile]:
        if not self.figures or not self.figures["worst"] or len(self.figures["groups"]) < 2:
            return []
        arm, worst = next(iter(self.figures["worst"].items()))
        group = next(g for g, cell in self.figures["accuracy"][arm].items() if cell == worst)
        note = f"group {group}; {arm} reward on held-out judgments [{percent(worst.low)}, {percent(worst.high)}], n = {worst.n} tasks"
        return [Tile("Accuracy for the worst-served group", percent(worst.estimate), note)]

    def claims(self) -> list[str]:
        if not self.figures or not self.figures["readings"]:
            return []
        readings = self.figures["readings"]
        own = [str(r["group"]) for r in readings if r["own_values"]]
        unclear = [str(r["group"]) for r in readings if r["advantage"]["low"] is None or r["advantage"]["low"] <= 0]
        parts = []
        if own:
            parts.append(f"the answers of group {' and '.join(own)} are more than the majority’s turned round")
        if unclear:
            parts.append(f"group {' and '.join(unclear)} cannot be told from poisoners")
        text = f"{len(self.figures['groups'])} groups of judges prefer different things: {'; '.join(parts)}"
        found = self.figures["found"]
        if found is not None:
            text += f". {percent(found.estimate)} of the {found.n} simulated judges with values of their own are in one group"
        return [text + "."]

    def limits(self) -> list[str]:
        if not self.figures or not self.figures["readings"]:
            return []
        return [
            "A group of judges that prefers other answers may be a minority or poisoners; judgments alone cannot tell."
        ]

    def missing(self) -> list[str]:
        return [] if self.figures else ["groups of judges by what they prefer (whose values)"]


def _truth(row: AnnotatorGroups, own: Any) -> str:
    """ "3 expert, 2 hasty with the values brief": what the simulation gave the members."""
    kinds = Counter(
        plain_name((row.nature or [])[k] or "not known") + (f" with the values {value}" if value != "checks" else "")
        for k in own
        if row.values and (value := row.values[k]) and row.nature
    )
    return ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())


def _found(row: AnnotatorGroups, likeliest: Any) -> Interval | None:
    """Share of the simulated annotators with values of their own who are in the group, not the largest, with most of them."""
    other = [int(likeliest[k]) for k, value in enumerate(row.values or []) if value not in (None, "checks")]
    if not other or len(row.weights) < 2:
        return None
    most = max(range(1, len(row.weights)), key=other.count)
    return rate([g == most for g in other])


def _by_group(row: RewardOfGroups, groups: int) -> dict[int, Interval]:
    group, agreed, task = np.array(row.group), np.array(row.agreed), np.array(row.task)
    return {g: rate(agreed[group == g], task[group == g].tolist()) for g in range(1, groups + 1) if (group == g).any()}
