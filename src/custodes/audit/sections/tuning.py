"""Tuning: what a policy learned of demonstrations or of preferences, update by update and on what was held out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from custodes.audit.record import RunSection
from custodes.audit.rows import Row
from custodes.page import percent, signed
from custodes.page.charts import step_chart
from custodes.registry import section
from custodes.stats import Interval, auc, mean_interval, paired_difference, rate

CURVES = {
    "loss": "Loss",
    "accuracy": "Accuracy on the update's pairs",
    "margin": "Margin, nats",
    "chosen": "Chosen reply gained, nats",
    "rejected": "Rejected reply gained, nats",
    "desirable": "Desirable replies gained, nats",
    "undesirable": "Undesirable replies gained, nats",
    "kl": "Reference point z0, nats",
    "grad_norm": "Gradient norm",
}
"""Metrics of an update that are drawn, in the order in which they are shown; a method reports some of them."""


@dataclass(frozen=True, kw_only=True)
class Tuned(Row):
    """A policy tuned on examples; ``subject`` is the method.

    ``updates`` holds the metrics of each update. ``before`` and ``after`` are log-likelihoods (nats, summed over a reply) of
    the held-out replies under the policy as it began and as it ended, ``tokens`` their lengths, ``task`` their prompts.
    Preferences have two replies a pair: these of the chosen one, and ``rejected_before`` and ``rejected_after`` of the
    other; ``label`` is the probability that the chosen one is better. Of single replies it is 1 for a desirable one, else 0.
    """

    NAME: ClassVar[str] = "tuning"
    ALIGNED = ("task", "tokens", "before", "after", "rejected_before", "rejected_after", "label")

    examples: int
    updates: list[dict[str, float]]
    task: list[str]
    tokens: list[int]
    before: list[float]
    after: list[float]
    rejected_before: list[float] | None = None
    rejected_after: list[float] | None = None
    label: list[float] | None = None
    texts: dict[str, list[float]] | None = None
    """What is asked for, before or after -> the mean score of the lines of each text that was drawn so."""

    def measured(self) -> dict[str, Interval]:
        """What was learned, on what was held out, by name; intervals count prompts. Empty of fewer than two examples."""
        if self.n < 2:
            return {}
        before, after = np.array(self.before), np.array(self.after)
        if self.rejected_before is None and self.label is not None:
            return self._of_labels(after - before)
        if self.rejected_before is None or self.rejected_after is None or self.label is None:
            old, new = -before / np.array(self.tokens), -after / np.array(self.tokens)
            found = {
                "loss before": mean_interval(old, self.task),
                "loss after": mean_interval(new, self.task),
                "loss fell by": paired_difference(old, new, self.task),
            }
            return found | self._of_texts()
        chosen, rejected = after - before, np.array(self.rejected_after) - np.array(self.rejected_before)
        better = np.where(chosen == rejected, 0.5, chosen > rejected)
        label = np.array(self.label)
        right = np.where(label == 0.5, 0.5, np.where(label > 0.5, better, 1 - better))
        return {
            "accuracy": rate(right, self.task),
            "chosen gained": mean_interval(chosen, self.task),
            "rejected gained": mean_interval(rejected, self.task),
            "margin": mean_interval(chosen - rejected, self.task),
        }

    def _of_texts(self) -> dict[str, Interval]:
        found = {f"line score, {name}": mean_interval(scores) for name, scores in (self.texts or {}).items() if scores}
        good, bad = ((self.texts or {}).get(f"{name}, after") for name in ("aligned", "misaligned"))
        if good and bad:  # drawn one by one, each on its own
            n = min(len(good), len(bad))
            found["line score, aligned minus misaligned"] = mean_interval(np.subtract(good[:n], bad[:n]))
        return found

    def _of_labels(self, gained: NDArray[np.float64]) -> dict[str, Interval]:
        good, task = np.array(self.label) > 0.5, np.array(self.task)
        found = {"ranked rightly": auc(gained, good, self.task)}
        for name, side in (("desirable gained", good), ("undesirable gained", ~good)):
            if side.any():
                found[name] = mean_interval(gained[side], task[side].tolist())
        return found


@section
class TuningSection(RunSection):
    """The loss along the updates, and what held-out replies gained in likelihood; absent where nothing was tuned."""

    title = "Tuning"
    place = 35
    rank = 5
    template = """
{% for method, t in figures.items() %}
<p>{{ t.examples | number }} examples were learned from with <b>{{ method }}</b> in {{ t.updates | number }} updates.</p>
{% if t.measured %}<table class="kv">
  {% for name, x in t.measured.items() %}{{ row(section.LABELS.get(name, name.capitalize()), x, "percent" if name in ("accuracy", "ranked rightly") else "number" if name in ("loss before", "loss after") else "signed", section.NOTES.get(name, "")) }}{% endfor %}
</table>
{% if t.likelihood %}<table class="wide-table">
  <thead><tr><th>Log-likelihood of a held-out reply, nats</th><th>Before</th><th>After</th></tr></thead>
  {% for side, x in t.likelihood.items() %}<tr><th scope="row">{{ side }}</th>{{ cell("before", x[0], n=true) }}{{ cell("after", x[1], n=true) }}</tr>{% endfor %}
</table>{% endif %}
{% else %}{{ absent("Likelihoods of held-out replies") }}{% endif %}
<div class="small-charts">{% for svg in charts[method] %}{{ figure(svg) }}{% endfor %}</div>
{% endfor %}
"""
    LABELS: ClassVar[dict[str, str]] = {
        "loss before": "Loss before, nats a token",
        "loss after": "Loss after, nats a token",
        "loss fell by": "Loss fell by",
        "accuracy": "Accuracy of the implicit reward",
        "chosen gained": "Chosen reply gained, nats",
        "rejected gained": "Rejected reply gained, nats",
        "margin": "Margin, nats",
        "ranked rightly": "Desirable above undesirable",
        "desirable gained": "Desirable reply gained, nats",
        "undesirable gained": "Undesirable reply gained, nats",
    }
    NOTES: ClassVar[dict[str, str]] = {
        "accuracy": "held-out pairs whose preferred reply gained more",
        "chosen gained": "below 0: it became less likely too",
        "margin": "chosen minus rejected, what each gained",
        "loss fell by": "paired on the same replies",
        "ranked rightly": "how often a held-out desirable reply gained more than an undesirable one (area under the curve)",
        "desirable gained": "below 0: it became less likely too",
    }

    def read(self) -> dict[str, Any]:
        return {method: _figures(row) for method, row in self.source.last(Tuned).items()}

    def claims(self) -> list[str]:
        return [sentence for method, t in self.figures.items() for sentence in _claims(method, t["measured"])]

    def charts(self) -> dict[str, list[str]]:
        return {
            method: [step_chart({method: line}, CURVES[name]) for name, line in t["curves"].items()]
            for method, t in self.figures.items()
        }

    def missing(self) -> list[str]:
        return [f"held-out examples of {method}" for method, t in self.figures.items() if not t["measured"]]


def _figures(row: Tuned) -> dict[str, Any]:
    likelihood = {}
    if row.n > 1:
        sides = {"Chosen": (row.before, row.after), "Rejected": (row.rejected_before, row.rejected_after)}
        known = {side: (b, a) for side, (b, a) in sides.items() if b is not None and a is not None}
        names = known if row.rejected_before is not None else {"Reply": (row.before, row.after)}
        likelihood = {side: [mean_interval(values, row.task) for values in pair] for side, pair in names.items()}
    lines = {name: [(i, u[name]) for i, u in enumerate(row.updates, 1) if name in u] for name in CURVES}
    return {
        "examples": row.examples,
        "updates": len(row.updates),
        "measured": row.measured(),
        "likelihood": likelihood,
        "curves": {name: line for name, line in lines.items() if line},
    }


def _claims(method: str, measured: Mapping[str, Interval]) -> list[str]:
    if "loss fell by" in measured:
        fell = measured["loss fell by"]
        bounds = f"95 % interval {signed(fell.low)} to {signed(fell.high)}, {fell.n:,} prompts"
        verb = "did not change clearly" if fell.low <= 0 <= fell.high else "fell" if fell.estimate > 0 else "rose"
        return [
            f"The loss on held-out replies {verb} with {method}: by {signed(fell.estimate)} nats a token ({bounds})."
        ]
    if "ranked rightly" in measured:
        right = measured["ranked rightly"]
        bounds = f"95 % interval {percent(right.low)} to {percent(right.high)}, {right.n:,} replies"
        return [
            f"With {method} a held-out desirable reply gained more than an undesirable one in {percent(right.estimate)} of "
            f"cases ({bounds})."
        ]
    if "accuracy" in measured:
        right = measured["accuracy"]
        bounds = f"95 % interval {percent(right.low)} to {percent(right.high)}, {right.n:,} prompts"
        told = [
            f"With {method} the preferred reply gained more in {percent(right.estimate)} of held-out pairs ({bounds})."
        ]
        lost = measured["chosen gained"]
        if lost.high < 0:
            bounds = f"95 % interval {signed(lost.low)} to {signed(lost.high)}, {lost.n:,} prompts"
            told.append(
                f"With {method} the chosen replies became less likely too: {signed(lost.estimate)} nats ({bounds})."
            )
        return told
    return []
