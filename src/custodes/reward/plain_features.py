"""Features of compared replies that need no model and have names: what the others prefer, length, Markdown.

Groups that are found on them can be told in words. They see nothing else: groups that differ in what a text says need a
reward model's features.

Letters: N comparisons, d features.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from custodes.feedback.annotator_model import MEASURES, AnnotatorModel
from custodes.feedback.collection import UNNAMED
from custodes.feedback.inversion import Suspicion, prompt_words
from custodes.reward.groups import FeaturePairs
from custodes.types import Episode, InputError, Judgment, Task

OTHERS, LENGTH, MARKDOWN = "what the others prefer", "length", "Markdown"


@dataclass(frozen=True, eq=False)
class PlainPairs:
    """The comparisons that an annotator model was fitted to, with named features."""

    data: FeaturePairs
    names: tuple[str, ...]  # (d,)
    where: Mapping[str, NDArray[np.bool_]]
    """Comparisons whose prompt has a word on which somebody seems to turn answers round, by "where the prompt has ..."."""


def plain_pairs(
    model: AnnotatorModel,
    judgments: Iterable[Judgment],
    episodes: Iterable[Episode] | None,
    suspicions: Iterable[Suspicion] = (),
    source: str = "the judgments",
) -> PlainPairs:
    """Features of the comparisons of ``model``, each in standard deviations: of 1 for a typical difference.

    "What the others prefer" is the difference in quality as everybody's other answers have it, so that nobody agrees with
    themselves; it is split by the words of ``suspicions``. Lengths and Markdown need the ``episodes``. An annotator's
    position bias is taken as known. Raises InputError where one annotator judged all: groups need several.
    """
    if UNNAMED in model.annotators:
        raise InputError(
            f'{source} do not say of every judgment who made it; groups of annotators need a column "annotator" in every row.'
        )
    data, (others, _) = model.comparisons, model.others
    held = list(episodes or ())
    tasks = {episode.task.id: episode.task for episode in held}
    words = sorted({s.feature for s in suspicions} & {word for task in tasks.values() for word in prompt_words(task)})
    task_of = {judgment.id: judgment.task for judgment in judgments}
    where = {
        f"where the prompt has {word!r}": _has(word, [tasks.get(task_of.get(j, "")) for j in model.judgments])
        for word in words
    }
    columns = {OTHERS: others}
    columns |= {f"{OTHERS}, {place}": others * inside for place, inside in where.items()}
    if held:
        texts = {episode.id: episode.completion for episode in held}
        for name, measure in ((LENGTH, MEASURES["length"]), (MARKDOWN, MEASURES["markdown"])):
            logs = np.log1p([measure(texts[id_]) for id_ in model.episodes])
            columns[name] = logs[data.first] - logs[data.second]
    columns = {name: column / np.sqrt((column**2).mean()) for name, column in columns.items() if column.any()}
    names = tuple(columns)
    label = 0.5 + 0.5 * np.sign(data.strength)
    annotators = [model.annotators[k] for k in data.annotator]
    difference = np.stack([columns[name] for name in names], axis=1) if names else np.zeros((len(label), 0))
    pairs = FeaturePairs.of(difference, label, annotators, model.position[data.annotator], source)
    return PlainPairs(pairs, names, where)


def _has(word: str, tasks: list[Task | None]) -> NDArray[np.bool_]:
    return np.array([task is not None and word in set(prompt_words(task)) for task in tasks])
