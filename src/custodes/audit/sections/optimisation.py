"""Optimisation: what each arm gained on the held-out tasks against √KL, and its training step by step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from custodes.audit import overoptimisation
from custodes.audit.heldout import chosen_row, gain_over_base, mean_of, shared_tasks, task_matrix, turn_of_gold
from custodes.audit.record import ArmSection
from custodes.audit.rows import PolicyHeldout, Row
from custodes.page import Tile, charts, number, signed
from custodes.page.drawing import alt
from custodes.registry import section
from custodes.stats import Interval, mean_interval, paired_difference

STEP_FIELDS = {
    "proxy": "Proxy reward",
    "kl": "KL per episode, nats",
    "entropy": "Entropy per token, nats",
    "length": "Length, tokens",
    "proxy_std": "Ensemble disagreement",
    "clip_fraction": "Clipped share of actions",
    "value_error": "Value error",
    "grad_norm": "Gradient norm",
    "truncated": "Cut at the token limit",
}
"""What the optimiser sees at each step, in the order in which it is shown."""


@dataclass(frozen=True, kw_only=True)
class PolicyStep(Row):
    """One optimisation step, on the training batch; ``subject`` is the arm. Only ``step`` is required."""

    NAME: ClassVar[str] = "policy_step"

    step: int
    kl: float | None = None  # mean over episodes of the summed k1 estimate, to the reference, not clamped
    kl_token: float | None = None  # mean over action tokens
    proxy: float | None = None  # mean reward before the KL penalty
    proxy_std: float | None = None  # mean over episodes of the ensemble's standard deviation
    entropy: float | None = None  # mean over action tokens
    length: float | None = None  # mean action tokens per episode
    truncated: float | None = None  # share of episodes cut at the token limit
    clip_fraction: float | None = None
    value_error: float | None = None
    grad_norm: float | None = None
    kl_coefficient: float | None = None
    seconds: float | None = None
    episodes: int = 0

    @property
    def n(self) -> int:
        return self.episodes


@dataclass(frozen=True, kw_only=True)
class BestOfNSamples(Row):
    """Base-policy samples of the held-out tasks, scored; ``subject`` is the arm whose reward is ``proxy``.

    ``proxy[i][j]`` and ``gold[i][j]`` belong to sample j of ``task[i]``. The audit computes the expected
    proxy and gold of best-of-n for every n up to the number of samples, without bias.
    """

    NAME: ClassVar[str] = "best_of_n"
    ALIGNED = ("task", "proxy", "gold")

    task: list[str]
    proxy: list[list[float]]
    gold: list[list[float]] | None = None


@section
class OptimisationSection(ArmSection):
    """One curve an arm: gains over the base policy on the held-out tasks against sqrt(KL)."""

    title = "Optimisation"
    place = 40
    rank = 0
    what = "the course of optimisation"
    template = """
{% for arm, o in figures.items() %}{{ arm_title(arm, source.arms) }}
{% if o.get("points") %}
<div class="charts">
{{ figure(charts.proxy[arm], "What the learned reward says was gained on held-out tasks.") }}
{{ figure(charts.gold[arm], "What was truly gained on the same tasks. Filled: the optimised policy; hollow: best-of-n of the base policy, at the upper bound of its KL.") }}
</div>
{% if o.overoptimisation %}<p>{{ o.overoptimisation.sentence }}</p>{% endif %}
<table class="wide-table">
  <thead><tr><th>Step</th><th>KL per episode, nats</th><th>Proxy gained</th><th>Gold gained</th><th>Length, tokens</th><th>Entropy, nats</th><th>Tasks</th></tr></thead>
  {% for p in o.points %}<tr{% if p.chosen %} class="chosen"{% endif %}><th scope="row"><span class="narrow">step </span>{{ p.step }}{% if p.chosen %}<small>handed over</small>{% endif %}</th>{{ cell("KL", p.kl) }}{{ cell("proxy gained", p.proxy, "signed") }}{{ cell("gold gained", p.gold, "signed") }}{{ cell("length", p.length) }}{{ cell("entropy", p.entropy) }}<td data-label="tasks">{{ p.tasks | number }}</td></tr>{% endfor %}
</table>
{% else %}{{ absent("Held-out points of training") }}{% endif %}
{% if o.get("best_of_n") %}<details><summary>Best-of-n of the base policy, in numbers</summary>
<table class="wide-table">
  <thead><tr><th>n</th><th>KL at most, nats</th><th>Proxy gained</th><th>Gold gained</th><th>Tasks</th></tr></thead>
  {% for p in o.best_of_n.points %}<tr><th scope="row"><span class="narrow">n = </span>{{ p.n }}</th><td data-label="KL at most">{{ p.kl | number }}</td>{{ cell("proxy gained", p.proxy, "signed") }}{{ cell("gold gained", p.gold, "signed") }}<td data-label="tasks">{{ o.best_of_n.tasks | number }}</td></tr>{% endfor %}
</table>{% if o.best_of_n.overoptimisation %}<p class="reading">{{ o.best_of_n.overoptimisation.sentence }}</p>{% endif %}</details>{% endif %}
{% if charts.fits[arm] %}<details><summary>Fitted curves</summary><table class="wide-table">
  <thead><tr><th>Curve</th><th>a</th><th>b</th><th>Peak at √KL</th><th>Gain there</th></tr></thead>
  {% for name, fit in charts.fits[arm] %}<tr><th scope="row">{{ name }}</th>{{ cell("a", fit.a, n=true) }}{{ cell("b", fit.b) }}{% if fit.peak %}{{ cell("peak at √KL", fit.peak) }}{{ cell("gain there", fit.peak_value) }}{% else %}<td data-label="peak">none: still rising</td><td></td>{% endif %}</tr>{% endfor %}
</table><p class="reading">With d = √KL: R = d (a − b log d) for optimisation, R = d (a − b d) for best-of-n (Gao et al., 2022). Intervals are over tasks.</p></details>{% endif %}
{% else %}{{ absent("The course of optimisation") }}{% endfor %}
{% if charts.steps %}<h3>Step by step, on the training batches</h3>
{% if charts.key %}<div class="key">{{ charts.key | safe }}</div>{% endif %}
<div class="small-charts">{% for svg in charts.steps %}{{ figure(svg) }}{% endfor %}</div>{% endif %}
"""

    def read_arm(self, arm: str) -> dict[str, Any] | None:
        rows = self.source.heldout.get(arm, [])
        steps = self.source.rows(PolicyStep).get(arm, [])
        best = self.source.last(BestOfNSamples).get(arm)
        figures: dict[str, Any] = {"steps": [s.metrics() for s in sorted(steps, key=lambda s: s.step)]}
        if rows:
            figures |= _curve(rows)
        if best is not None and best.n:
            figures["best_of_n"] = _best_of_n(best)
        return figures if rows or steps or best else None

    @cached_property
    def _gain(self) -> tuple[float, float, Interval] | None:
        """Gold of the base policy and of the one handed over, and the paired gain, of the arm of the headline."""
        rows = self.source.heldout.get(self.source.arms[0], []) if self.source.arms else []
        gold = task_matrix([rows[0], chosen_row(rows)], "gold") if len(rows) > 1 else None
        if gold is None or gold.shape[1] < 2:
            return None
        return float(gold[0].mean()), float(gold[1].mean()), paired_difference(gold[1], gold[0])

    def headline(self) -> dict[str, Any]:
        base, optimised, gain = self._gain or (None, None, None)
        interval = None if gain is None else [gain.low, gain.high]
        verdicts = {arm: test.verdict for arm, test in self._tests.items()} or None
        return {
            "gold_base": base, "gold_optimised": optimised, "gold_gain_interval": interval, "overoptimisation": verdicts
        }  # fmt: skip

    def tiles(self) -> list[Tile]:
        label = "Gold, held-out tasks"
        if self._gain is None:
            return [Tile(label, None)]
        base, optimised, gain = self._gain
        bounds = f"gain {signed(optimised - base)} [{signed(gain.low)}, {signed(gain.high)}], paired, n = {gain.n:,}"
        return [Tile(label, f"{number(base)} → {number(optimised)}", bounds)]

    def claims(self) -> list[str]:
        named = len(self.source.arms) > 1
        verdicts = [f"{f'The {arm} arm: ' if named else ''}{test.sentence}" for arm, test in self._tests.items()]
        return [self._gold_claim(), *self._reward_claim(), *verdicts]

    @cached_property
    def _tests(self) -> dict[str, overoptimisation.OveroptimisationTest]:
        """Arm -> what became of its gold, where gold is known."""
        tests = {arm: figures.get("overoptimisation") for arm, figures in self.figures.items()}
        return {arm: test for arm, test in tests.items() if test is not None}

    def _gold_claim(self) -> str:
        if self._gain is None:
            return "Gold was not recorded, so this report cannot say whether the policy became truly better."
        base, optimised, gain = self._gain
        levels = f"from {number(base)} to {number(optimised)}"
        bounds = (
            f"{signed(optimised - base)}, 95 % interval {signed(gain.low)} to {signed(gain.high)}, "
            f"paired on {gain.n:,} held-out tasks"
        )
        if gain.low > 0:
            return f"The policy became truly better: gold rose {levels} ({bounds})."
        if gain.high < 0:
            return f"The policy became truly worse: gold fell {levels} ({bounds})."
        return f"Whether the policy became truly better is not clear: gold went {levels} ({bounds})."

    def _reward_claim(self) -> Iterator[str]:
        """What was optimised against, where nothing truer is known."""
        points = self.first.get("points", ()) if self.first and self._gain is None else ()
        gain = next((p["proxy"] for p in reversed(points) if p["chosen"]), None)
        if gain is not None:
            verb = "did not change clearly" if gain.low <= 0 <= gain.high else "fell" if gain.estimate < 0 else "rose"
            bounds = f"{signed(gain.estimate)}, 95 % interval {signed(gain.low)} to {signed(gain.high)}"
            yield f"The reward that was optimised against {verb} ({bounds}, paired on {gain.n:,} held-out tasks)."

    def charts(self) -> dict[str, Any]:
        steps = {}
        for field, title in STEP_FIELDS.items():
            lines = {
                arm: [(s["step"], s[field]) for s in o["steps"] if s[field] is not None]
                for arm, o in self.figures.items()
            }
            if any(lines.values()):
                steps[field] = charts.step_chart(lines, title)
        return {
            "proxy": {arm: gain_chart("proxy", _curves(o, "proxy")) for arm, o in self.figures.items()},
            "gold": {arm: gain_chart("gold", _curves(o, "gold")) for arm, o in self.figures.items()},
            "fits": {arm: list(_fits(o)) for arm, o in self.figures.items()},
            "steps": list(steps.values()),
            "key": charts.series_key(list(self.figures)) if len(self.figures) > 1 else None,
        }

    def limits(self) -> list[str]:
        return [
            "Intervals hold the seed, the judges and the reward fixed. They say how far the tasks speak, not how another"
            " run would turn out.",
            "KL is the k1 estimate from sampled episodes, never clamped; close to 0 it is noisy.",
            "Whether gold turned down is told from held-out gold, on which the choice of the policy that was handed over must"
            " not rest. 2 to 4 of 100 runs whose gold is flat are told to turn down; less gold for each unit of proxy is no"
            " proof of gaming.",
        ]

    def missing(self) -> list[str]:
        gold = "gold reward of base and optimised policy on held-out tasks"
        return [*([gold] if self._gain is None else []), *super().missing()]

    def missing_of(self, figures: Mapping[str, Any]) -> Iterator[str]:
        if not figures["steps"]:
            yield "optimisation steps"
        if "best_of_n" not in figures:
            yield "best-of-n"


# ---------------------------------------------------------------- figures


def _curve(rows: Sequence[PolicyHeldout]) -> dict[str, Any]:
    proxy, gold = task_matrix(rows, "proxy"), task_matrix(rows, "gold")
    kl = [mean_interval(np.asarray(r.kl)) for r in rows]
    d = overoptimisation.root_kl([k.estimate for k in kl])
    fits = {
        name: overoptimisation.fit_gao(d[1:], values[1:] - values[0], "rl")  # the base gains 0 by definition
        for name, values in (("proxy", proxy), ("gold", gold))
        if values is not None
    }
    return {
        "points": [
            {
                "step": r.step,
                "kl": kl[i],
                "sqrt_kl": float(d[i]),
                "proxy": gain_over_base(proxy, i),
                "gold": gain_over_base(gold, i),
                "gold_level": mean_interval(gold[i]) if gold is not None else None,
                "length": mean_of(r.length),
                "entropy": mean_of(r.entropy),
                "proxy_std": mean_of(r.proxy_std),
                "chosen": r is chosen_row(rows),
                "tasks": len(shared_tasks(rows)),
            }
            for i, r in enumerate(rows)
        ],
        "fit": fits,
        "overoptimisation": turn_of_gold(rows),
    }


def _best_of_n(row: BestOfNSamples) -> dict[str, Any]:
    counts = overoptimisation.powers_of_two(len(row.proxy[0]))
    d = np.sqrt([overoptimisation.best_of_n_kl(n) for n in counts])
    values = {"proxy": overoptimisation.best_of_n_values(row.proxy, row.proxy, counts)}
    if row.gold is not None:
        values["gold"] = overoptimisation.best_of_n_values(row.proxy, row.gold, counts)
    return {
        "tasks": row.n,
        "points": [
            {"n": n, "kl": float(d[i] ** 2), "sqrt_kl": float(d[i])}
            | {name: gain_over_base(values.get(name), i) for name in ("proxy", "gold")}
            for i, n in enumerate(counts)
        ],
        "fit": {name: overoptimisation.fit_gao(d[1:], v[1:] - v[0], "best_of_n") for name, v in values.items()},
        "overoptimisation": None
        if "gold" not in values
        else overoptimisation.overoptimisation_test(values["gold"], values["proxy"], [f"n = {n}" for n in counts]),
    }


def _curves(figures: Mapping[str, Any], which: str) -> dict[str, tuple[Points, Any]]:
    """The points and the fit of optimisation and of best-of-n."""
    curves = {"optimised": figures, "best-of-n": figures.get("best_of_n", {})}
    return {
        label: ([(p["sqrt_kl"], p[which]) for p in curve.get("points", [])], curve.get("fit", {}).get(which))
        for label, curve in curves.items()
    }


def _fits(figures: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """("gold, best-of-n", fit) for each curve that could be fitted."""
    for label, curve in (("optimised", figures), ("best-of-n", figures.get("best_of_n", {}))):
        for name, fit in curve.get("fit", {}).items():
            if fit is not None:
                yield f"{name}, {label}", fit


# ---------------------------------------------------------------- charts


Points = list[tuple[float, Interval | None]]
"""Of a curve: the distance sqrt(KL), and the gain there."""


def gain_chart(
    which: str,
    curves: Mapping[str, tuple[Points, overoptimisation.GaoFit | None]],
    at: Sequence[float] | None = None,
    distance: str = "√KL from the base policy (√nats)",
) -> str:
    """Gains of "proxy", "gold" or "reward" over the base policy against sqrt(KL), or another ``distance``; "" where there is
    nothing to draw.

    Of a fitted curve the fit is drawn, and of the first one its peak; other points are joined where ``at``, the distances
    at which curves are compared, is given.
    """
    title = f"{which} gained over base"
    scale = alt.Scale(zero=True, nice=False, padding=8)
    x = alt.X("x:Q", title=distance, scale=scale, axis=alt.Axis(tickCount=6))
    y, lower = alt.Y("y:Q", title=title), alt.Y("low:Q", title=title)
    layers: list[alt.Chart] = []
    ends: charts.Rows = []
    heights: list[float] = []
    for k, (label, (points, fit)) in enumerate(curves.items()):
        rows = [charts.interval_span(gain, "y") | {"x": d, "label": label} for d, gain in points if gain]
        rows.sort(key=lambda r: r["x"])
        if not rows:
            continue
        reached, line = rows[-1]["x"], [] if at is None else rows
        if fit is not None:
            grid = np.linspace(0, reached, 80)
            line = [{"x": float(a), "y": float(b)} for a, b in zip(grid, fit(grid), strict=True)]
        if line:
            layers.append(charts.series_line(k, line).encode(x=x, y=y))
        ink, base = charts.INKS[k % len(charts.INKS)], alt.Chart(charts.chart_data(rows)).encode(x=x)
        layers += [base.mark_rule(color=ink).encode(y=lower, y2="high:Q"), charts.point_marks(base, y, ink, k == 0)]
        ends.append(rows[-1])
        heights += [r["y"] for r in (*rows, *line)]
        if k == 0 and fit is not None and fit.peak is not None and 0 < fit.peak.estimate <= reached:
            layers += _peak_mark(fit.peak, x, left=fit.peak.estimate > reached / 2)
    if not layers:
        return ""
    layers += [charts.vertical_rule(d, charts.GREY, distance, [2, 2]) for d in at or ()]
    labels = charts.end_labels(ends, x, y, max(heights) - min(heights))
    chart = alt.layer(*layers, *labels).properties(width=charts.WIDTH, height=charts.HEIGHT)
    return charts.inline_svg(chart, f"{which} gained over the base policy, against {distance}.", 74)


def _peak_mark(peak: Interval, x: alt.X, left: bool) -> list[alt.Chart]:
    label = f"peak {number(peak.estimate)} [{number(peak.low)}, {number(peak.high)}]"
    base = alt.Chart(charts.chart_data([{"x": peak.estimate, "label": label}])).encode(x=x)
    text = base.mark_text(
        align="right" if left else "left", dx=-5 if left else 5, fontStyle="italic", color=charts.INK, baseline="bottom"
    )
    return [
        base.mark_rule(color=charts.INK, strokeDash=charts.DASHES[2]),
        text.encode(y=alt.value(charts.HEIGHT - 4), text="label:N"),
    ]
