"""Who can be trusted, and what the judgments then say: the annotator model in the project's nouns.

:func:`fit_annotators` turns judgments into arrays, fits the model of ``bradley_terry.py`` and hands back an
:class:`AnnotatorModel`. It holds reliability and biases of every annotator, the quality of every episode, and for every
comparison a label that is free of the annotator's position and length bias. Every estimate has a standard error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, ndtr

from custodes.feedback.bradley_terry import Comparisons, Fit, fit
from custodes.feedback.ordinal import label_from_one
from custodes.feedback.qualities import Items, components
from custodes.feedback.reliability import A, B, C, S
from custodes.feedback.truths import Realised, realised
from custodes.types import Episode, Floats, InputError, Ints, Judgment

AnnotatorMethod = Literal["hierarchical", "bradley-terry"]
Style = Literal["length", "markdown"]
Z = 1.959964  # 97.5th percentile of the normal distribution
INDEPENDENT = (
    "All this takes annotators to err independently: errors that they share look like quality, and only tasks with a "
    "known answer show them."
)


@dataclass(frozen=True)
class Estimate:
    """What the model says of one annotator; units are those of :class:`AnnotatorModel`, ``_se`` standard errors."""

    annotator: str
    judgments: int
    reliability: float
    reliability_se: float
    reliability_low: float
    """Ends of the 95 % interval of reliability; the posterior of somebody who judged little is not symmetric."""
    reliability_high: float
    position: float
    position_se: float
    length: float
    length_se: float
    reserve: float
    reserve_se: float


@dataclass(frozen=True)
class Effect:
    """A coefficient that all annotators share, with its standard error."""

    name: str
    estimate: float
    se: float


@dataclass(frozen=True, eq=False)
class AnnotatorModel:
    """The fitted model. K annotators, I episodes, N comparisons (a ranking of n episodes makes n (n - 1) / 2).

    ``reliability`` is the slope of an annotator's log-odds by the difference in quality, on the crowd's scale: its
    root mean square is 1, so 1 is a typical annotator, 0 answers that carry nothing, below 0 inverted answers.
    ``position`` is the log-odds added to the first shown. ``length`` is how much more than the typical annotator somebody
    favours the longer answer: log-odds per standard deviation of the difference in log-length (``length_unit``; 0 when
    lengths were not given). A preference for length that all share cannot be told from quality and stays in the qualities;
    ``shared_length`` says how large it is. ``reserve`` is the factor on the thresholds between weak and strong answers: 1
    is typical, above 1 strong answers are given sparingly.

    ``quality`` is such that sigmoid of a difference is how often an annotator of reliability 1 without bias
    prefers the first. Its zero is the mean of the prior; only differences between compared episodes mean something.
    """

    annotators: tuple[str, ...]
    reliability: Floats  # (K,), and so on
    reliability_se: Floats
    position: Floats
    position_se: Floats
    length: Floats
    length_se: Floats
    reserve: Floats
    reserve_se: Floats
    episodes: tuple[str, ...]
    quality: Floats  # (I,)
    quality_se: Floats
    judgments: tuple[str, ...]  # (N,) id of the judgment that each comparison comes from
    comparisons: Comparisons  # the arrays that were fitted; indices into ``episodes`` and ``annotators``
    fit: Fit
    length_unit: float  # standard deviation of the differences in log-length, nats
    style: tuple[Effect, ...] = ()  # what was controlled for, log-odds per standard deviation of its difference
    repeats: int = 0  # comparisons left out: the same annotator had compared the same two before
    method: AnnotatorMethod = "hierarchical"
    assumed: tuple[str, ...] = ()  # what a file's reader assumed, one sentence each
    items_are_ranked: bool = False  # whether items are compared with each other at all, or within their tasks alone

    @cached_property
    def notes(self) -> list[str]:
        """What a reader of the numbers has to know, one sentence each."""
        found = list(self.assumed)
        if not self.fit.converged:
            found.append(f"The fit has not converged after {self.fit.rounds} rounds: its numbers are rough.")
        if self.repeats:
            found.append(
                f"{self.repeats:,} comparisons repeat two answers that the same annotator had compared before; "
                "the first counts, the others are left out."
            )
        alone = int((~self.overlaps).sum())
        if alone == len(self.annotators):
            found.append(
                "Nothing overlaps: no two annotators compared anything connected, so reliability cannot be told."
            )
        elif alone:
            found.append(
                f"{alone:,} annotators overlap with nobody: their reliability cannot be told, it is the crowd's."
            )
        apart = int(self.groups.max(initial=0)) + 1
        if self.items_are_ranked and apart > 1:
            found.append(f"The items fall into {apart:,} groups that no comparison connects; each is ranked apart.")
        shared = self.shared_length
        if shared is not None and abs(shared.estimate) > Z * shared.se:
            found.append(
                f"The crowd prefers the {'longer' if shared.estimate > 0 else 'shorter'} answer "
                f"({shared.estimate:+.2f} ± {Z * shared.se:.2f} log-odds per standard deviation of log-length); whether that "
                "is bias or quality is unknown, and nothing is corrected for it."
            )
        if self.style:
            found.append(
                "Qualities are controlled for style as if style were no part of quality; these judgments cannot show "
                "whether it is."
            )
        return [*found, INDEPENDENT]

    @cached_property
    def overlaps(self) -> NDArray[np.bool_]:
        """(K,) whether an annotator compared something that is connected to what somebody else compared."""
        data, group = self.comparisons, self.groups
        pairs = np.unique(np.stack([group[data.first], data.annotator]), axis=1)
        people = np.bincount(pairs[0], minlength=int(group.max(initial=0)) + 1)
        return np.bincount(pairs[1], people[pairs[0]] > 1, minlength=len(self.annotators)) > 0

    @cached_property
    def groups(self) -> Ints:
        """(I,) the number of each episode's group: episodes of one are connected by comparisons, and nothing else is."""
        return components(self.comparisons.first, self.comparisons.second, self.comparisons.items)

    @cached_property
    def shared_length(self) -> Effect | None:
        """What the qualities owe to length if quality itself has nothing to do with it, or the other way round.

        The coefficient of length in the qualities, N(0, 1) before in standard deviations of quality: log-odds of a
        typical annotator per standard deviation of the difference in log-length. None where no lengths were given, or where style was controlled.
        """
        data, fit = self.comparisons, self.fit
        if not self.length_unit or self.style:
            return None
        items = Items(data.first, data.second, data.items, data.length[:, None])
        precision = fit.precision * fit.unit**2
        belief = items.believe(precision, fit.natural * fit.unit)
        se = float(np.sqrt(belief.gamma_covariance[0, 0]))
        return Effect("length", float(belief.gamma[0]) * fit.unit, se * fit.unit)

    @cached_property
    def better(self) -> Floats:
        """(N,) probability that the first shown is truly better, given all judgments."""
        return ndtr(self.fit.difference / self.fit.difference_sd)

    @cached_property
    def preference(self) -> Floats:
        """(N,) probability that an unbiased annotator of reliability 1 prefers the first shown."""
        return expit(self.fit.difference / np.sqrt(1 + np.pi / 8 * self.fit.difference_sd**2))

    @cached_property
    def resolved(self) -> Floats:
        """(N,) share of the prior variance of q_first - q_second that the judgments removed: 0 nothing is known."""
        return np.clip(1 - self.fit.difference_sd**2 / (2 * self.fit.unit**2), 0.0, 1.0)

    def realised(self, winners: Mapping[tuple[str, str], str], names: Mapping[str, str] | None = None) -> Realised:
        """What ``better`` states of the pairs whose better one is known, and how often it is right.

        ``winners`` (see ``read_winners``) has ids of episodes, or what ``names`` calls them. Raises InputError where none
        of them was compared.
        """
        known = self.known_pairs(winners, names)
        better = self.better[list(known)]
        return realised(np.maximum(better, 1 - better), (better > 0.5) == np.array(list(known.values()), bool))

    def known_pairs(
        self, winners: Mapping[tuple[str, str], str], names: Mapping[str, str] | None = None
    ) -> dict[int, bool]:
        """Of each pair whose better one is known, one of its comparisons, and whether the first shown is the better."""
        data = self.comparisons
        called = [(names or {}).get(id_, id_) for id_ in self.episodes]
        pairs: dict[tuple[int, int], tuple[int, bool]] = {}
        for n, (i, j) in enumerate(zip(data.first.tolist(), data.second.tolist(), strict=True)):
            for one, other in ((self.episodes[i], self.episodes[j]), (called[i], called[j])):
                winner = winners.get((min(one, other), max(one, other)), "")
                if winner and one != other:
                    pairs[min(i, j), max(i, j)] = (n, winner == one)
        return dict(pairs.values())

    @cached_property
    def others(self) -> tuple[Floats, Floats]:
        """(N,) difference in quality and its variance as everybody's other answers have it."""
        return self.fit.other, self.fit.other_sd**2

    @cached_property
    def own_label(self) -> Floats:
        """(N,) probability that the first shown is truly better, given this one judgment and its annotator.

        Position and length bias are taken out, an inverter's answer is turned, a random one's is near 1/2.
        """
        data, k = self.comparisons, self.comparisons.annotator
        return label_from_one(
            data.strength,
            self.fit.thresholds,
            leaning=self.position[k] + self.length[k] * data.length,
            slope=self.reliability[k] * self.fit.unit,
            scale=self.reserve[k],
        )

    @cached_property
    def weight(self) -> Floats:
        """(N,) weight of the judgment as it was given: its annotator's reliability, 0 for whoever has none."""
        return np.maximum(self.reliability, 0.0)[self.comparisons.annotator]

    def of(self, annotator: str) -> Estimate:
        """Everything about one annotator. Raises InputError for an unknown id."""
        if annotator not in self._index:
            raise InputError(f"annotator {annotator!r} judged nothing here; known: {', '.join(self.annotators[:5])}.")
        k = self._index[annotator]
        names = ("reliability", "position", "length", "reserve")
        values = {name + end: float(getattr(self, name + end)[k]) for name in names for end in ("", "_se")}
        values |= dict(zip(("reliability_low", "reliability_high"), self.fit.interval[k].tolist(), strict=True))
        return Estimate(annotator, int(self._given[k]), **values)

    @property
    def estimates(self) -> list[Estimate]:
        """Everything about everybody, the least reliable first."""
        return sorted(map(self.of, self.annotators), key=lambda estimate: estimate.reliability)

    @cached_property
    def _index(self) -> dict[str, int]:
        return {name: k for k, name in enumerate(self.annotators)}

    @cached_property
    def _given(self) -> Ints:
        """(K,) how many comparisons each annotator gave."""
        return np.bincount(self.comparisons.annotator, minlength=len(self.annotators))


def fit_annotators(
    judgments: Iterable[Judgment],
    episodes: Iterable[Episode] | None = None,
    axis: str = "overall",
    method: AnnotatorMethod = "hierarchical",
    style: Sequence[Style] = (),
    leaning_to: Mapping[str, float] | None = None,
) -> AnnotatorModel:
    """Fits reliability, biases and qualities to the comparisons and rankings on ``axis`` among ``judgments``.

    ``episodes`` give the lengths (characters of the completion) for the length bias; None leaves it out. ``method``
    "bradley-terry" believes everybody equally and knows no biases. ``style`` names what qualities are controlled for:
    "length", and "markdown" (headings, list items and bold passages); a caveat is among the model's ``notes``. ``leaning_to``
    is a number for each episode. It takes the place of the logarithm of its length, so that the length bias is each
    annotator's leaning to this number. "both
    bad" counts as a tie, "cannot judge" says nothing; judgments of other kinds hold no comparison. Whoever compares the
    same two episodes again has one vote: the first. Raises InputError when nothing is left, when an episode is compared
    with itself, when a judged episode is not among ``episodes``, or when style is to be controlled without them.
    """
    rows = [row for judgment in judgments for row in judgment.comparisons(axis)]
    if not rows:
        raise InputError(f"no comparison or ranking on axis {axis!r} among the judgments: there is nothing to fit.")
    for row in rows:
        if row.first == row.second:
            raise InputError(f"judgment {row.judgment} compares episode {row.first} with itself; give two episodes.")
    first_of = {(row.annotator, frozenset((row.first, row.second))): row for row in reversed(rows)}
    kept = [row for row in rows if first_of[row.annotator, frozenset((row.first, row.second))] is row]
    ids, annotators, firsts, seconds, strengths, *_ = zip(*kept, strict=True)
    annotator_ids, k = _numbered(annotators)
    episode_ids, both = _numbered(firsts + seconds)
    first, second = both[: len(kept)], both[len(kept) :]
    texts = None
    if episodes is not None:
        of = {episode.id: episode.completion for episode in episodes}
        if missing := [id_ for id_ in episode_ids if id_ not in of]:
            raise InputError(
                f"{len(missing)} judged episodes are not among the episodes given, the first is {missing[0]}."
            )
        texts = [of[id_] for id_ in episode_ids]
    elif style:
        raise InputError(f"style ({', '.join(style)}) is measured on the episodes' texts: give the episodes too.")
    if leaning_to is None:
        length, unit = _difference(texts, len, first, second)
    else:
        property_of = np.array([leaning_to[id_] for id_ in episode_ids])
        length, unit = _in_deviations(property_of[first] - property_of[second])
    measured = [_difference(texts, MEASURES[name], first, second)[0] for name in style]
    data = Comparisons(
        first, second, k, np.array(strengths), length, len(episode_ids), len(annotator_ids),
        np.stack(measured, axis=1) if measured else np.zeros((len(kept), 0)),
    )  # fmt: skip
    return fit_comparisons(
        data, annotator_ids, episode_ids, ids, unit, method, style=tuple(style), repeats=len(rows) - len(kept)
    )


def fit_comparisons(
    data: Comparisons,
    annotators: tuple[str, ...],
    episodes: tuple[str, ...],
    judgments: tuple[str, ...],
    length_unit: float = 0.0,
    method: AnnotatorMethod = "hierarchical",
    style: tuple[str, ...] = (),
    repeats: int = 0,
) -> AnnotatorModel:
    """The model fitted to arrays; the names are those of the numbers in ``data``, one judgment per comparison.

    ``style`` names the columns of ``data.style``, ``repeats`` counts the comparisons that were left out as repeats.
    """
    fitted = fit(data, alike=method == "bradley-terry")
    reserve = np.exp(fitted.theta[:, S])
    return AnnotatorModel(
        annotators=annotators,
        reliability=fitted.theta[:, A],
        reliability_se=fitted.se[:, A],
        position=fitted.theta[:, B],
        position_se=fitted.se[:, B],
        length=fitted.theta[:, C],
        length_se=fitted.se[:, C],
        reserve=reserve,
        reserve_se=reserve * fitted.se[:, S],
        episodes=episodes,
        quality=fitted.quality,
        quality_se=fitted.quality_sd,
        judgments=judgments,
        comparisons=data,
        fit=fitted,
        length_unit=length_unit,
        style=tuple(
            Effect(name, float(value), float(se))
            for name, value, se in zip(style, fitted.gamma, fitted.gamma_se, strict=True)
        ),
        repeats=repeats,
        method=method,
    )


def _numbered(names: tuple[str, ...]) -> tuple[tuple[str, ...], Ints]:
    """Distinct names in order of appearance, and the number of each name in them."""
    index: dict[str, int] = {}
    numbers = np.array([index.setdefault(name, len(index)) for name in names])
    return tuple(index), numbers


def _difference(
    texts: list[str] | None, measure: Callable[[str], float], first: Ints, second: Ints
) -> tuple[Floats, float]:
    """(N,) log1p of ``measure`` of the first minus that of the second, in standard deviations; and that deviation."""
    if texts is None:
        return np.zeros(len(first)), 0.0
    logs = np.log1p([measure(text) for text in texts])
    return _in_deviations(logs[first] - logs[second])


def _in_deviations(difference: Floats) -> tuple[Floats, float]:
    unit = float(np.sqrt(np.mean(difference**2)))
    return (difference / unit if unit > 0 else difference), unit


_MARKS = re.compile(r"^ {0,3}#{1,6} |^\s*(?:[-*+]|\d+[.)]) |\*\*[^*\n]+\*\*", re.MULTILINE)
MEASURES: Mapping[Style, Callable[[str], float]] = {"length": len, "markdown": lambda text: len(_MARKS.findall(text))}
"""What style is measured by; of Markdown, headings, list items and bold passages."""
