"""The front of two objectives: a policy for each weight, one table and one chart of what they came to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from custodes.files import plain_json
from custodes.loop.gains import Gain
from custodes.page import Report, Section, charts, number, save_report
from custodes.page.drawing import alt
from custodes.stats import Interval
from custodes.types import InputError

FRONT = "front:"
"""How weights begin that are a front."""


@dataclass(frozen=True)
class Front:
    """Two objectives, and what each weight of the first came to; the second weighs the rest of 1."""

    objectives: tuple[str, str]
    weights: tuple[float, ...]
    means: tuple[tuple[Interval, Interval], ...]
    """Of both objectives on held-out prompts, at each weight."""
    gains: tuple[tuple[Interval, Interval], ...]
    """Over the base model, paired by prompt."""
    runs: tuple[Gain, ...]
    order: tuple[float, float]
    """Spearman's correlation of an objective's weight with its mean; 1: more weight always gave more of it."""

    def beaten(self, i: int) -> bool:
        """Whether another weight gave more of both objectives, by their estimates."""
        a, b = self.means[i]
        return any(x.estimate > a.estimate and y.estimate > b.estimate for x, y in self.means)

    def sentences(self) -> list[str]:
        """The table in words."""
        first, second = self.objectives
        rows = [
            f"Weight {w:g} of {first}: {first} {a}, {second} {b}{', beaten by another weight' if self.beaten(i) else ''}."
            for i, (w, (a, b)) in enumerate(zip(self.weights, self.means, strict=True))
        ]
        said = " and ".join(f"{number(rho)} of {name}" for name, rho in zip(self.objectives, self.order, strict=True))
        return [*rows, f"Rank correlation of weight and objective over {len(self.weights)} weights: {said}."]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        points = [
            {
                "weight": w,
                "policy": run.policy,
                "beaten": self.beaten(i),
                "means": dict(zip(self.objectives, self.means[i], strict=True)),
                "gains": dict(zip(self.objectives, self.gains[i], strict=True)),
            }
            for i, (w, run) in enumerate(zip(self.weights, self.runs, strict=True))
        ]
        order = dict(zip(self.objectives, self.order, strict=True))
        return dict(plain_json({"objectives": list(self.objectives), "points": points, "rank_correlation": order}))

    def save(self, out: Path) -> None:
        """Write ``front.html`` and ``front.json``."""
        page = Report(
            kind="Custodes front",
            title=f"{self.objectives[0]} and {self.objectives[1]}",
            subtitle=f"{len(self.weights)} policies, a weight each; {self.means[0][0].n:,} held-out prompts",
            sections=[_FrontSection(self, "front")],
            head=None,
        )
        save_report(page, out / "front.html", (out / "front.json", self.to_dict()))


def read_front(text: str, rewards: Sequence[str]) -> tuple[tuple[str, str], tuple[float, ...]]:
    """The two objectives and the weights of the first, from 1 down to 0, of ``front:5`` or ``front:5:truthful,harmless``.

    Without names the objectives are the two rewards. Raises InputError.
    """
    count, _, given = text.removeprefix(FRONT).partition(":")
    names = [name.strip() for name in given.split(",")] if given else [_name_of(reward) for reward in rewards]
    if not count.isdigit() or int(count) < 2:
        raise InputError(f"--weights {text}: write front:N with 2 weights or more, e.g. front:5.")
    if len(names) != 2 or names[0] == names[1]:
        raise InputError(
            f"--weights {text} needs two objectives and finds {', '.join(names) or 'none'}; give two rewards, or name two parts: "
            f"{FRONT}{count}:truthful,harmless."
        )
    weights = tuple(round(float(w), 6) for w in np.linspace(1, 0, int(count)))
    return (names[0], names[1]), weights


def _name_of(reward: str) -> str:
    """The name that a reward of the command line has: of FILE.py:NAME the second."""
    return reward.rpartition(":")[2] if ".py:" in reward else Path(reward).name


def front_of(objectives: tuple[str, str], weights: Sequence[float], gains: Sequence[Gain]) -> Front:
    """Raises InputError where an objective is not known on enough held-out prompts."""
    means: list[tuple[Interval, Interval]] = []
    gained: list[tuple[Interval, Interval]] = []
    for gain in gains:
        held = [both for name in objectives for both in gain.parts.get(name, (None, None)) if both is not None]
        if len(held) < 4:
            raise InputError(f"{' or '.join(objectives)} is known on fewer than 2 held-out prompts of {gain.policy}.")
        means.append((held[0], held[2]))
        gained.append((held[1], held[3]))
    order = []
    for k, own in enumerate((list(weights), [1 - w for w in weights])):
        values = [both[k].estimate for both in means]
        order.append(float(spearmanr(own, values).statistic) if len(set(values)) > 1 else math.nan)
    return Front(objectives, tuple(weights), tuple(means), tuple(gained), tuple(gains), (order[0], order[1]))


class _FrontSection(Section[Front]):
    """The table and the chart."""

    title = "What each weight came to, on the same held-out prompts"
    template = """
{{ figure(charts.front, "Both objectives of each policy, with 95 % intervals; the number beside a point is the first objective's weight. Hollow: another weight gave more of both.") }}
<table class="wide-table">
  <thead><tr><th>Weight of {{ source.objectives[0] }}</th>{% for name in source.objectives %}<th>{{ name }}</th><th>gained over base</th>{% endfor %}<th>Policy</th></tr></thead>
  {% for w in source.weights %}<tr><th scope="row">{{ w | number }}</th>{% set i = loop.index0 %}{% for name in source.objectives %}{{ cell(name, source.means[i][loop.index0]) }}{{ cell(name ~ " gained", source.gains[i][loop.index0], "signed") }}{% endfor %}<td data-label="policy">{{ source.runs[i].policy }}</td></tr>{% endfor %}
</table>
"""

    def claims(self) -> list[str]:
        return self.source.sentences()[-1:]

    def charts(self) -> dict[str, str]:
        front, (first, second) = self.source, self.source.objectives
        rows = [
            charts.interval_span(b, "y") | {"x": a.estimate, "left": a.low, "right": a.high, "label": f"{w:g}"}
            for w, (a, b) in zip(front.weights, front.means, strict=True)
        ]
        scale = alt.Scale(zero=False, nice=False, padding=12)
        x, y = alt.X("x:Q", title=first, scale=scale), alt.Y("y:Q", title=second, scale=scale)
        base = alt.Chart(charts.chart_data(rows)).encode(x=x, y=y)
        left, low = alt.X("left:Q", title=first, scale=scale), alt.Y("low:Q", title=second, scale=scale)
        layers = [
            charts.series_line(0, rows).encode(x=x, y=y),
            base.mark_rule(color=charts.GREY).encode(y=low, y2="high:Q"),
            base.mark_rule(color=charts.GREY).encode(x=left, x2="right:Q"),
        ]
        for beaten in (False, True):
            own = [row for i, row in enumerate(rows) if front.beaten(i) == beaten]
            if own:
                layers.append(
                    charts.point_marks(alt.Chart(charts.chart_data(own)).encode(x=x), y, charts.INK, not beaten)
                )
        labels = base.mark_text(align="left", dx=7, dy=-7, color=charts.INK).encode(text="label:N")
        chart = alt.layer(*layers, labels).properties(width=charts.WIDTH, height=charts.HEIGHT)
        return {"front": charts.inline_svg(chart, f"{second} against {first}, a policy for each weight.")}
