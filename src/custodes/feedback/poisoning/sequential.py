"""Is this annotator still honest? A test that may be looked at after every judgment, with a stated false-alarm rate.

The null hypothesis is "reliability at least ``honest``", half of a typical annotator's by default, the others' answers
given. Against it stand alternatives: worthless or inverted answers everywhere, or inverted answers wherever a feature
of the task holds (a word in the prompt, not being a gold item) and honest ones elsewhere. For each alternative the
likelihood ratio of the answers so far is a supermartingale under the null, whatever the true reliability above the
limit, because the probability of agreeing with the others grows with reliability. Their mixture E is one too, so by
Ville's inequality (1939) the probability that E ever reaches 1 / level is at most ``level``: no correction for having
looked often, or for having tried many features.

The others' answers come in as the fitted model sees them without this answer: a difference of qualities with mean m and
variance v. Exact are the statements above when that posterior and the annotator's fitted position and length bias are;
``benchmarks/poisoning.py`` measures what is left of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_expit, logsumexp

from custodes.feedback.annotator_model import AnnotatorModel
from custodes.types import Floats, InputError, Ints

HONEST = 0.5
"""Reliability from which an annotator counts as honest; 1 is typical."""
EVERYWHERE = (-1.0, -0.5, 0.0)
"""Reliabilities of the alternatives without a feature: they share half of the mixture, features the other half."""


@dataclass(frozen=True)
class AnnotatorAlarm:
    """The evidence against one annotator."""

    annotator: str
    evidence: float
    """Largest value so far of log E, nats; the alarm rings at log(1 / level)."""
    judgments: int
    """Answers it rests on: ties and "cannot judge" say nothing here."""
    rang_at: int | None
    """After how many of them the alarm first rang; None when it did not."""
    suspicion: str
    """The alternative that fits best: "inverted", "worthless", or "inverted where FEATURE"."""


@dataclass(frozen=True, eq=False)
class AnswerSeries:
    """N decided answers and what everybody else said of the same pairs, in the order in which they were given."""

    annotator: Ints  # (N,)
    sign: Floats  # (N,) 1 for the first shown, -1 for the second
    mean: Floats  # (N,) quality of the first minus the second as the others see it
    variance: Floats  # (N,)
    leaning: Floats  # (N,) the annotator's fitted log-odds for the first between equals
    comparison: Ints  # (N,) place among the model's comparisons

    @classmethod
    def of(cls, model: AnnotatorModel) -> AnswerSeries:
        data, k = model.comparisons, model.comparisons.annotator
        mean, variance = model.others
        leaning = model.position[k] + model.length[k] * data.length
        at = np.flatnonzero(data.strength != 0)
        return cls(k[at], np.sign(data.strength[at]).astype(float), mean[at], variance[at], leaning[at], at)

    def log_probability(self, reliability: float | Floats) -> Floats:
        """(N,) log-probability of each answer from somebody of this reliability."""
        shrink = 1 / np.sqrt(1 + np.pi / 8 * np.square(reliability) * self.variance)
        return np.asarray(log_expit(self.sign * shrink * (reliability * self.mean + self.leaning)))


def watch(
    model: AnnotatorModel,
    features: NDArray[np.bool_] | None = None,
    names: Sequence[str] = (),
    level: float = 0.01,
    honest: float = HONEST,
) -> list[AnnotatorAlarm]:
    """The alarm of every annotator, the most suspect first.

    ``features`` (n, F) says of each of the model's comparisons which of the F ``names`` hold. ``level`` is the
    probability that the alarm ever rings for an annotator whose reliability is ``honest`` or more. Raises InputError
    for a level or a limit outside 0..1 and for features of another length.
    """
    if not (0 < level < 1 and 0 < honest <= 1):
        raise InputError(f"alarm level {level} and honest {honest}: both must lie between 0 and 1.")
    answers = AnswerSeries.of(model)
    n = len(model.comparisons.first)
    held = np.zeros((n, 0), bool) if features is None else features
    if held.shape != (n, len(names)):
        raise InputError(f"features of shape {held.shape}; {n:,} comparisons and {len(names)} names were given.")
    null = answers.log_probability(honest)
    ratios = np.stack([answers.log_probability(a) - null for a in EVERYWHERE], axis=1)  # (N, 3)
    held = held[answers.comparison]
    order = np.argsort(answers.annotator, kind="stable")
    bounds = np.searchsorted(answers.annotator[order], np.arange(len(model.annotators) + 1))
    alarms = [
        _alarm(name, ratios[rows], held[rows], names, level)
        for k, name in enumerate(model.annotators)
        for rows in [order[bounds[k] : bounds[k + 1]]]
    ]
    return sorted(alarms, key=lambda alarm: -alarm.evidence)


def _alarm(name: str, ratios: Floats, held: NDArray[np.bool_], names: Sequence[str], level: float) -> AnnotatorAlarm:
    """``ratios`` (n, 3) of one annotator's answers, ``held`` (n, F)."""
    if not len(ratios):
        return AnnotatorAlarm(name, 0.0, 0, None, "nothing to go by")
    paths = np.cumsum(np.hstack([ratios, ratios[:, :1] * held]), axis=0)  # (n, 3 + F) log-likelihood ratios so far
    E, F = len(EVERYWHERE), len(names)
    weight = np.concatenate([np.full(E, (0.5 if F else 1.0) / E), np.full(F, 0.5 / max(F, 1))])
    evidence = np.asarray(logsumexp(paths, axis=1, b=weight))
    rang = np.flatnonzero(evidence >= -np.log(level))
    best = int(np.argmax(paths[int(np.argmax(evidence))] + np.log(weight)))
    suspicion = f"inverted where {names[best - E]}" if best >= E else ("worthless" if best == E - 1 else "inverted")
    return AnnotatorAlarm(name, float(evidence.max()), len(ratios), int(rang[0]) + 1 if len(rang) else None, suspicion)
