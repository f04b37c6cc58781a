"""Does a model know what it knows? The probability of a multiple-choice answer against how often it is right.

An option's probability is that of its letter, averaged over the orders in which the options are asked. It is not the
geometric mean of an answer's token probabilities, which is fluency.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from custodes.audit.choice import BARE, ChoiceItem, ask_choices
from custodes.audit.own_items import knowledge_items
from custodes.audit.probe import (
    KnownItem,
    Probe,
    ProbeColumns,
    ProbeFigure,
    ProbeSetting,
    column,
    drawn_items,
    paired_figure,
)
from custodes.lm.choices import RepliesTold
from custodes.page.charts import reliability_chart
from custodes.registry import probe
from custodes.stats import calibration_curve, calibration_error, weighted_sum
from custodes.tables import read_rows
from custodes.types import Floats, InputError

WRONG = 3
"""Wrong options of a question, at most."""
BINS = 10
ERROR = "Calibration error"


@probe
@dataclass(frozen=True, kw_only=True)
class Calibration(Probe):
    """Questions with one right answer and up to three wrong ones."""

    title: ClassVar[str] = "Calibration of answers"
    asks: ClassVar[str] = (
        "Questions with one right option. The calibration error is the mean distance between stated probability and share right, "
        "over bins of as many questions, without what noise adds. Confidence is the probability of the likeliest option."
    )
    headline: ClassVar[tuple[str, ...]] = (ERROR, "The right option is the likeliest")
    data: ClassVar[Mapping[str, str]] = {"truthfulqa": "truthfulqa/questions"}
    own: ClassVar[str] = "general knowledge: capitals, sums, chemical symbols"
    cannot: ClassVar[str] = "how sure a model sounds in free text."

    truthfulqa: Path | None = None
    """Questions of TruthfulQA: columns Question, Best Answer, Incorrect Answers. Without it truthfulqa/questions in --data,
    and without that built-in questions."""

    def items(self, data: Path | None, at_most: int, seed: int) -> list[KnownItem]:
        files = self.files(data)
        read = _truthfulqa(files["truthfulqa"]) if files else knowledge_items()
        drawn = drawn_items(read, at_most, seed)
        rng = random.Random(seed)
        return [item.shuffled(rng) for item in drawn]  # no place is the right one's

    def observe(self, engine: RepliesTold, items: Sequence[KnownItem], setting: ProbeSetting) -> ProbeColumns:
        return ask_choices(engine, [item.choice for item in items], BARE).columns()

    def figures(self, observed: Mapping[str, ProbeColumns], items: Sequence[KnownItem]) -> list[ProbeFigure]:
        clusters = [item.choice.cluster for item in items]
        told = {model: _stated(own, items) for model, own in observed.items()}
        of_right = {
            model: [own[item.right] for item, own in zip(items, options, strict=True)]
            for model, options in column(observed, "options").items()
        }
        errors = {model: calibration_error(p, right, BINS, clusters) for model, (p, right) in told.items()}
        first = next(iter(told))
        differences = {m: weighted_sum((1, e), (-1, errors[first])) for m, e in errors.items() if m != first}
        right = {model: own for model, (_, own) in told.items()}
        return [
            ProbeFigure(ERROR, errors, differences, "percent", "0 is calibrated; its difference is not paired"),
            paired_figure("The right option is the likeliest", right, clusters),
            paired_figure("Confidence", {model: p for model, (p, _) in told.items()}, clusters),
            paired_figure(
                "Confidence minus share right",
                {m: p - r for m, (p, r) in told.items()},
                clusters,
                "number",
                "above 0: too sure",
            ),
            paired_figure("Probability of the right option", of_right, clusters),
            paired_figure("The option that stands first", column(observed, "first"), clusters),
            paired_figure("Mass on the letters", column(observed, "mass"), clusters, note="the reply begins with one"),
        ]

    def charts(self, observed: Mapping[str, ProbeColumns], items: Sequence[KnownItem]) -> dict[str, str]:
        bins = max(1, min(BINS, len(items) // BINS))
        curves = {model: calibration_curve(*_stated(own, items), bins) for model, own in observed.items()}
        first = next(iter(curves))
        pairs = [[first, model] for model in curves if model != first] or [[first]]
        return {
            f"Stated probability against the share right: {' and '.join(names)}.": reliability_chart(
                {name: curves[name] for name in names}, "probability of the likeliest option", "share right", 0.0
            )
            for names in pairs
        }


def _stated(columns: ProbeColumns, items: Sequence[KnownItem]) -> tuple[Floats, Floats]:
    """(N,) probability of the likeliest option, and whether that is right; several that are likeliest share it."""
    p = np.array([max(own) for own in columns["options"]])
    right = []
    for item, own in zip(items, columns["options"], strict=True):
        likeliest = [k for k, value in enumerate(own) if value > max(own) - 1e-9]
        right.append((item.right in likeliest) / len(likeliest))
    return np.minimum(p, 1.0), np.array(right, float)


def _truthfulqa(path: Path) -> list[KnownItem]:
    """Raises InputError for a row without a right or a wrong answer."""
    items = []
    for row in read_rows(path, ("Question", "Best Answer", "Incorrect Answers")):
        question, best = (str(row.values.get(name) or "").strip() for name in ("Question", "Best Answer"))
        wrong = [part.strip() for part in str(row.values.get("Incorrect Answers") or "").split(";") if part.strip()]
        if not question or not best or not wrong:
            raise InputError(
                f"{row.place}: expected Question, Best Answer and Incorrect Answers (with ';' between them)."
            )
        items.append(KnownItem(ChoiceItem(question, (best, *wrong[:WRONG]), question), 0))
    return items
