"""Do annotators agree with each other, and with themselves?"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any, Literal

import krippendorff
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_array, csr_matrix, triu

from custodes.feedback.kinds.label import Label
from custodes.feedback.kinds.rating import Rating
from custodes.feedback.labels.table import LabelTable
from custodes.stats import Interval, jackknife, rate
from custodes.types import Annotator, Ints, Judgment

Level = Literal["ordinal", "nominal"]
LEAST_ITEMS = 10
"""Fewer items that two people judged say too little of how alpha, kappa or AC1 would vary: they get no interval."""

TASKS = 5_000
"""Tasks that an agreement is taken over at most, evenly chosen: more would narrow no interval that matters."""


@dataclass(frozen=True)
class InterAnnotatorAgreement:
    """Krippendorff's alpha: 1 perfect agreement, 0 what chance gives, below 0 systematic disagreement."""

    alpha: Interval
    """With a jackknife interval over items; its n is ``items``. Not a number where nothing varies."""
    level: Level
    items: int
    """Pairs of episodes (for ratings and labels, episodes) that at least two annotators judged."""
    judgments: int
    """Judgments of those."""

    @property
    def note(self) -> str | None:
        """What to say of too few items, in one sentence."""
        if self.items >= LEAST_ITEMS:
            return None
        return f"{self.items} items were judged by two or more annotators; below {LEAST_ITEMS} there is no interval."

    def to_dict(self) -> dict[str, Any]:
        return {"alpha": self.alpha.to_dict(), "pairs": self.items, "judgments": self.judgments}


@dataclass(frozen=True)
class PairAgreement:
    """How far two annotators agree on the items that both judged."""

    first: str
    second: str
    share: Interval
    """Of the items, the same answer."""
    kappa: Interval
    """Cohen (1960): chance agreement is what the two's own shares of each answer would give."""
    ac1: Interval
    """Gwet (2008): the same for people who seldom guess; does not fall to 0 where nearly all answers are one."""
    items: int

    def to_dict(self) -> dict[str, Any]:
        intervals = {name: getattr(self, name).to_dict() for name in ("share", "kappa", "ac1")}
        return {"annotators": [self.first, self.second], "items": self.items} | intervals


@dataclass(frozen=True)
class Consistency:
    """How often the same annotator chose the same when shown the same two episodes again (intervals over pairs)."""

    overall: Interval
    annotators: Mapping[str, Interval]  # those who saw something again


def agreement(
    judgments: Iterable[Judgment], level: Level = "ordinal", axis: str = "overall"
) -> InterAnnotatorAgreement:
    """Krippendorff's alpha over the comparisons and rankings on ``axis``.

    "ordinal" compares strengths (-3..3, turned to one order of the two episodes), "nominal" only who won. Where an
    annotator judged a pair several times, the first answer counts. Source: Krippendorff (2011), Computing alpha.
    """
    given: dict[Hashable, dict[str, int]] = defaultdict(dict)
    for pair, annotator, strength in answers_of(judgments, axis):
        given[pair].setdefault(annotator, strength if level == "ordinal" else int(np.sign(strength)))
    return _agreement(given, level)


def agreement_of_annotators(judgments: Iterable[Judgment], axis: str = "overall") -> list[PairAgreement]:
    """Of every two annotators with a pair of episodes in common, most first: share, Cohen's kappa and Gwet's AC1.

    An answer is the first, the second or a tie, without its strength. Chance agreement counts the answers that any
    annotator gave. Intervals are the jackknife's over pairs of episodes; kappa is not a number where both always say the
    same.
    """
    given: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    for pair, annotator, strength in answers_of(judgments, axis):
        given[pair].setdefault(annotator, int(np.sign(strength)))
    numbers: dict[int, int] = {}
    both: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
    for answers in given.values():
        coded = [(name, numbers.setdefault(answer, len(numbers))) for name, answer in sorted(answers.items())]
        for (one, x), (other, y) in combinations(coded, 2):
            both[one, other].append((x, y))
    found = [_of_pair(*names, np.array(pairs), len(numbers)) for names, pairs in both.items()]
    return sorted(found, key=lambda pair: (-pair.items, pair.first, pair.second))


def agreement_on_ratings(judgments: Iterable[Judgment], axis: str = "overall") -> InterAnnotatorAgreement:
    """Ordinal alpha over the ratings on ``axis``: what is agreed about is an episode, its first rating by each counts."""
    given: dict[Hashable, dict[str, float]] = defaultdict(dict)
    for judgment in judgments:
        if isinstance(judgment, Rating) and judgment.axis == axis:
            given[judgment.episodes[0]].setdefault(judgment.annotator, judgment.value)
    return _agreement(given, "ordinal")


def agreement_on_labels(judgments: Iterable[Judgment], name: str) -> InterAnnotatorAgreement:
    """Nominal alpha over the labels called ``name``, as for ratings."""
    given: dict[Hashable, dict[str, str]] = defaultdict(dict)
    for judgment in judgments:
        if isinstance(judgment, Label) and judgment.name == name:
            given[judgment.episodes[0]].setdefault(judgment.annotator, judgment.value)
    return _agreement(given, "nominal")


def agreement_by_group(
    judgments: Iterable[Judgment],
    annotators: Iterable[Annotator],
    key: str,
    level: Level = "ordinal",
) -> dict[str, InterAnnotatorAgreement]:
    """Agreement within each group of annotators that share ``profile[key]`` ("" where they have none)."""
    group = {annotator.id: str(annotator.profile.get(key, "")) for annotator in annotators}
    members: dict[str, list[Judgment]] = defaultdict(list)
    for judgment in judgments:
        members[group.get(judgment.annotator, "")].append(judgment)
    return {name: agreement(members[name], level) for name in sorted(members)}


def repeat_consistency(judgments: Iterable[Judgment], axis: str = "overall") -> Consistency:
    """Each judgment against the annotator's previous one of the same two episodes, in whatever order shown."""
    seen: dict[tuple[str, tuple[str, str]], list[int]] = defaultdict(list)
    for pair, annotator, strength in answers_of(judgments, axis):
        seen[annotator, pair].append(int(np.sign(strength)))
    same: dict[str, list[bool]] = defaultdict(list)
    pairs: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for (annotator, pair), choices in seen.items():
        same[annotator] += [before == after for before, after in pairwise(choices)]
        pairs[annotator] += [pair] * (len(choices) - 1)
    every = [ok for oks in same.values() for ok in oks]
    return Consistency(
        overall=rate(every, [pair for own in pairs.values() for pair in own]),
        annotators={name: rate(oks, pairs[name]) for name, oks in sorted(same.items()) if oks},
    )


# ---------------------------------------------------------------- of a table of labels


@dataclass(frozen=True)
class LabelAgreement:
    """Agreement in a table of labels."""

    everybody: InterAnnotatorAgreement
    pairs: list[PairAgreement]
    """Of the pairs of annotators with most tasks in common, most first."""
    all_pairs: int
    """How many pairs have a task in common."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What must be said with it, one sentence each."""
        return tuple(note for note in (self.everybody.note,) if note)


def agreement_in(table: LabelTable, pairs: int = 20) -> LabelAgreement:
    """Nominal alpha over the tasks that several labelled, and the agreement of the ``pairs`` that share most tasks."""
    shared = _some(np.flatnonzero(np.diff(table.start) > 1))
    counts = table.votes[shared].astype(np.int64)
    if counts.shape[1] < 2:
        counts = np.pad(counts, ((0, 0), (0, 1)))
    labels = csr_matrix(
        (table.label + 1, (table.task, table.annotator)), shape=(len(table.tasks), len(table.annotators))
    ).tocsc()
    given = labels.sign().astype(np.int64)
    together = coo_array(triu(given.T @ given, 1))
    most = np.lexsort((together.col, together.row, -together.data))[:pairs]
    found = []
    for one, other in zip(together.row[most], together.col[most], strict=True):
        both = labels[:, [one, other]]
        answers = both[np.flatnonzero(np.diff(both.tocsr().indptr) == 2)].toarray().astype(np.int64)
        names = (str(table.annotators[one]), str(table.annotators[other]))
        found.append(_of_pair(*names, answers[_some(np.arange(len(answers)))] - 1, len(table.classes)))
    return LabelAgreement(_of_counts(counts, "nominal"), found, together.nnz)


def _some(places: NDArray[np.intp]) -> NDArray[np.intp]:
    """All of them, or ``TASKS`` at equal distances."""
    if len(places) <= TASKS:
        return places
    return places[np.linspace(0, len(places) - 1, TASKS).astype(np.intp)]


# ---------------------------------------------------------------- parts


def answers_of(judgments: Iterable[Judgment], axis: str) -> Iterable[tuple[tuple[str, str], str, int]]:
    """(pair in order of ids, annotator, strength for the first of the pair) of every comparison."""
    for judgment in judgments:
        for row in judgment.comparisons(axis):
            turned = row.second < row.first
            pair = (row.second, row.first) if turned else (row.first, row.second)
            yield pair, row.annotator, -row.strength if turned else row.strength


def _of_pair(first: str, second: str, pairs: Ints, values: int) -> PairAgreement:
    """The same of two annotators; ``pairs`` (items, 2) are the numbers of their answers, below ``values``."""
    x, y = pairs[:, 0], pairs[:, 1]
    common = np.argsort(-np.bincount(pairs.ravel(), minlength=max(values, 2)), kind="stable")[:2].tolist()

    def kappa(a: Ints, b: Ints) -> float:
        chance = float(np.bincount(a, minlength=values) @ np.bincount(b, minlength=values)) / len(a) ** 2
        return (float(np.mean(a == b)) - chance) / (1 - chance) if chance < 1 else math.nan

    def ac1(a: Ints, b: Ints) -> float:
        share = np.bincount(np.concatenate([a, b]), minlength=values) / (2 * len(a))
        chance = float((share * (1 - share)).sum()) / max(values - 1, 1)
        return (float(np.mean(a == b)) - chance) / (1 - chance)

    of_kappa, of_ac1 = (_chance_corrected(statistic, x, y, imaginary=common) for statistic in (kappa, ac1))
    return PairAgreement(first, second, rate((x == y).astype(float)), of_kappa, of_ac1, len(pairs))


def _agreement(given: Mapping[Hashable, Mapping[str, Any]], level: Level) -> InterAnnotatorAgreement:
    """``given``: item -> annotator -> value; only the order of values counts, whatever the scale."""
    shared = [list(answers.values()) for answers in given.values() if len(answers) > 1]
    place = {value: n for n, value in enumerate(sorted({value for values in shared for value in values}))}
    width = max(len(place), 2)
    counts = np.array([np.bincount([place[v] for v in values], minlength=width) for values in shared], np.int64)
    return _of_counts(counts.reshape(-1, width), level)


def _of_counts(counts: Ints, level: Level) -> InterAnnotatorAgreement:
    """Alpha from ``counts`` (items, values): how often each value was given to each item that several judged."""
    disagreed = np.zeros(counts.shape[1], np.int64)
    disagreed[np.argsort(-counts.sum(0), kind="stable")[:2]] = 1  # the two commonest values, one each

    def statistic(given: Ints) -> float:
        used = given[:, given.any(axis=0)]
        return (
            float(krippendorff.alpha(value_counts=used, level_of_measurement=level)) if used.shape[1] > 1 else math.nan
        )

    alpha = _chance_corrected(statistic, counts, imaginary=(disagreed,))
    return InterAnnotatorAgreement(alpha, level, items=len(counts), judgments=int(counts.sum()))


def _chance_corrected(statistic: Callable[..., float], *arrays: ArrayLike, imaginary: Sequence[ArrayLike]) -> Interval:
    found = jackknife(statistic, *arrays, imaginary=imaginary, bounds=(-1.0, 1.0))
    return found if found.n >= LEAST_ITEMS else Interval(found.estimate, -math.inf, math.inf, found.n)
