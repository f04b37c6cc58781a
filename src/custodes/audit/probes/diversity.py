"""How different a model's replies are: to one prompt, and to several; all of them, and those that do what was asked.

Optimisation takes diversity away (arXiv 2310.06452), and may add to that of the answers which count (arXiv 2504.12522).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from custodes.audit import diversity
from custodes.audit.probe import Probe, ProbeColumns, ProbeFigure, paired_figure
from custodes.registry import probe

MEETING = ", answers that meet the check"
DISTANCE = "Distance within a prompt"


@probe
@dataclass(frozen=True, kw_only=True)
class Diversity(Probe):
    """Distinct n-grams and distances of the replies."""

    title: ClassVar[str] = "Diversity"
    asks: ClassVar[str] = (
        "Several replies to each prompt. Distance is that of character trigrams, 0 where all say the same. Distinct n-grams are "
        "1- to 4-grams over the number expected at this length. Across prompts: blocks of 16 first replies."
    )
    reads: ClassVar[Literal["items", "replies"]] = "replies"
    headline: ClassVar[tuple[str, ...]] = (DISTANCE, DISTANCE + MEETING)

    def figures(self, observed: Mapping[str, ProbeColumns], items: Sequence[Any]) -> list[ProbeFigure]:
        every = {model: _by_task(columns, meeting=False) for model, columns in observed.items()}
        found = _of_groups(every, "")
        if all(value is not None for columns in observed.values() for value in columns["meets"]):
            met = {model: columns["meets"] for model, columns in observed.items()}
            tasks = list(next(iter(observed.values()))["task"])
            found.append(paired_figure("Answers that meet the check", met, tasks))
            found += _of_groups({model: _by_task(c, meeting=True) for model, c in observed.items()}, MEETING)
        return found


def _by_task(columns: ProbeColumns, meeting: bool) -> dict[str, list[str]]:
    texts: dict[str, list[str]] = defaultdict(list)
    for task, text, meets in zip(columns["task"], columns["text"], columns["meets"], strict=True):
        texts[task] += [text] if text is not None and (meets or not meeting) else []
    return texts


def _of_groups(groups: Mapping[str, Mapping[str, list[str]]], which: str) -> list[ProbeFigure]:
    """Figures of texts by model and task."""
    texts = [text for own in groups.values() for group in own.values() for text in group]
    vocabulary = {n: size for n in diversity.NGRAMS if (size := diversity.ngram_vocabulary(texts, n))}
    first = next(iter(groups.values()))
    several = [task for task in first if all(len(own[task]) > 1 for own in groups.values())]
    some = [task for task in first if all(own[task] for own in groups.values())]
    found = []
    for where, sides, clusters in (
        ("within a prompt", {m: [own[t] for t in several] for m, own in groups.items()}, several),
        ("across prompts", {m: diversity.across([own[t] for t in some]) for m, own in groups.items()}, None),
    ):
        blocks = len(next(iter(sides.values())))
        if blocks < 2 or not vocabulary:
            continue
        over = clusters or list(map(str, range(blocks)))
        distances = {model: diversity.distance(side) for model, side in sides.items()}
        distinct = {model: diversity.distinct(side, vocabulary) for model, side in sides.items()}
        found.append(paired_figure(f"Distance {where}{which}", distances, over, "number", bounds=(0, 1)))
        if np.isfinite(np.concatenate(list(distinct.values()))).all():
            found.append(paired_figure(f"Distinct n-grams {where}{which}", distinct, over, "number"))
    return found
