"""Features of replies for finding groups: length, Markdown, and a model's hidden state at the last token, in few directions.

The directions are the principal components of all replies, each of variance 1. Their number is the one at which one reward
for everybody predicts held-out judgments best, so that few judgments are not spread over many features.

Letters: P pairs, R distinct replies, d features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from custodes.feedback.annotator_model import MEASURES, Style
from custodes.lm.loading import LanguageModel
from custodes.reward.group_choice import held_out_folds, held_out_likelihood
from custodes.reward.groups import FeaturePairs, fit_groups
from custodes.reward.model import RewardModel, last_hidden_states
from custodes.types import Episode, Floats

SIZES = (4, 8, 16, 32, 62)
"""Numbers of directions that are tried."""
MEASURED: tuple[Style, ...] = ("length", "markdown")
"""Features beside the directions: a hidden state hardly tells them. Scores are correlated with them too, to tell in words what
a group prefers."""


@dataclass(frozen=True, eq=False)
class HiddenPairs:
    """Compared replies with their features."""

    data: FeaturePairs
    first: Floats  # (P, d)
    second: Floats
    measured: Floats  # (P, 2) differences of the measures of MEASURED, in logarithms


def hidden_pairs(
    lm: LanguageModel,
    pairs: Sequence[tuple[Episode, Episode]],
    label: Floats,
    annotators: Sequence[str],
    *,
    max_length: int = 1024,
    source: str = "the judgments",
    seed: int = 0,
) -> HiddenPairs:
    """``label`` (P,) is the probability that the first reply is better, according to its annotator. Each reply is read once.

    Raises InputError where nobody is named, and where a reply does not fit.
    """
    FeaturePairs.of(np.zeros((len(label), 1)), label, annotators, source=source)  # before anything is computed
    replies = {episode.id: episode for pair in pairs for episode in pair}
    at = {id_: n for n, id_ in enumerate(replies)}
    bare = RewardModel(
        replace(lm, adapter=None), nn.Parameter(torch.zeros(1, lm.decoder.spec.hidden)), max_length=max_length
    )
    hidden = last_hidden_states(bare, list(replies.values()))
    hidden -= hidden.mean(axis=0)
    left, size, _ = np.linalg.svd(hidden, full_matrices=False)
    rank = int((size > 1e-6 * size[0]).sum())
    logs = np.stack([np.log1p([MEASURES[m](e.completion) for e in replies.values()]) for m in MEASURED], axis=1)
    plain = (logs - logs.mean(axis=0)) / np.where(logs.std(axis=0) > 0, logs.std(axis=0), 1.0)
    features = np.concatenate([plain, left[:, : min(rank, SIZES[-1])] * np.sqrt(len(hidden))], axis=1)
    one, other = (np.array([at[pair[side].id] for pair in pairs]) for side in (0, 1))
    difference = features[one] - features[other]

    def of_size(d: int) -> FeaturePairs:
        return FeaturePairs.of(difference[:, :d], label, annotators, source=source)

    sizes = [len(MEASURED) + d for d in SIZES if len(MEASURED) + d <= features.shape[1]] or [features.shape[1]]
    fold = held_out_folds(of_size(1), seed)

    def likelihood(d: int) -> float:
        data = of_size(d)
        fits = [fit_groups(data.some(fold != k), 1) for k in range(int(fold.max()) + 1)]
        return float(held_out_likelihood(data, fold, fits).sum())

    d = max(sizes, key=likelihood)
    return HiddenPairs(of_size(d), features[one, :d], features[other, :d], logs[one] - logs[other])


def correlations_with(scores: Floats, measured: Floats) -> Floats:
    """(G, 2) correlation of the differences of scores (P, G) with those of the measures (P, 2); 0 for what never differs."""
    size = np.sqrt((scores**2).mean(axis=0))[:, None] * np.sqrt((measured**2).mean(axis=0))
    return np.divide(scores.T @ measured / len(scores), size, out=np.zeros(size.shape), where=size > 0)
