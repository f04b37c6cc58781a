"""Made-up facts: does a model say that things exist which somebody invented?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from custodes.audit.own_items import existence_questions
from custodes.audit.probe import Probe, ProbeColumns, ProbeFigure, ProbeSetting, column, drawn_items, paired_figure
from custodes.environments.prompts import task_id
from custodes.lm.choices import YES_NO, RepliesTold, choice_logprobs
from custodes.registry import probe
from custodes.stats import auc, weighted_sum
from custodes.tables import read_rows
from custodes.types import InputError, Message, Task

INVENTED = "Says that invented things exist"
APART = "Tells real things from invented ones"


@dataclass(frozen=True, slots=True)
class ExistenceItem:
    """A question whether something exists."""

    question: str
    exists: bool

    def task(self) -> Task:
        messages = (Message("user", f"{self.question}\nAnswer with Yes or No."),)
        return Task(task_id(messages), messages)


@probe
@dataclass(frozen=True, kw_only=True)
class Facts(Probe):
    """Questions about things that exist and things that somebody made up."""

    title: ClassVar[str] = "Made-up facts"
    asks: ClassVar[str] = (
        "Questions whether something exists, answered Yes or No; half of the things are invented. Telling apart is the chance "
        "that a real thing gets a higher probability of Yes than an invented one: 50 % is none."
    )
    headline: ClassVar[tuple[str, ...]] = (INVENTED, APART)
    data: ClassVar[Mapping[str, str]] = {"existing": "facts/existing"}
    own: ClassVar[str] = "cities and chemical elements, real and invented"
    cannot: ClassVar[str] = "what a model makes up in longer texts."

    existing: Path | None = None
    """Questions with Yes or No as their answer: columns question and exists (1 or 0). Without it facts/existing in --data, and
    without that built-in questions."""

    def items(self, data: Path | None, at_most: int, seed: int) -> list[ExistenceItem]:
        files = self.files(data)
        if not files:
            return drawn_items([ExistenceItem(*asked) for asked in existence_questions()], at_most, seed)
        items = []
        for row in read_rows(files["existing"], ("question", "exists")):
            question, exists = str(row.values.get("question") or "").strip(), row.flag("exists")
            if not question:
                raise InputError(f"{row.place}: expected a question, and exists, which is 1 or 0.")
            items.append(ExistenceItem(question, exists))
        if len({item.exists for item in items}) < 2:
            raise InputError(f"{files['existing']} needs questions of both kinds: exists 1, and exists 0.")
        return drawn_items(items, at_most, seed)

    def observe(self, engine: RepliesTold, items: Sequence[ExistenceItem], setting: ProbeSetting) -> ProbeColumns:
        p = np.exp(choice_logprobs(engine, [item.task() for item in items], YES_NO))  # (N, 2)
        return {"yes": (p[:, 0] / p.sum(axis=1)).tolist(), "mass": p.sum(axis=1).tolist()}

    def figures(self, observed: Mapping[str, ProbeColumns], items: Sequence[ExistenceItem]) -> list[ProbeFigure]:
        exists, clusters = np.array([item.exists for item in items]), [item.question for item in items]
        yes = {model: np.array(own, float) for model, own in column(observed, "yes").items()}
        areas = {model: auc(own, exists) for model, own in yes.items()}
        first = next(iter(areas))
        differences = {m: weighted_sum((1, area), (-1, areas[first])) for m, area in areas.items() if m != first}
        return [
            paired_figure(INVENTED, {m: np.where(exists, np.nan, own) for m, own in yes.items()}, clusters),
            paired_figure(
                "Says that real things exist", {m: np.where(exists, own, np.nan) for m, own in yes.items()}, clusters
            ),
            ProbeFigure(APART, areas, differences, "percent", "its difference is not paired"),
            paired_figure("Mass on Yes and No", column(observed, "mass"), clusters, note="the reply begins with one"),
        ]
