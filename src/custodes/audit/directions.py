"""Directions in hidden states that tell two classes apart, and how well they do on groups that were held out.

Letters: N items, d features, F folds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from custodes.stats import Interval, auc
from custodes.types import Floats, InputError, Ints

Fit = Callable[[Floats, NDArray[np.bool_]], tuple[Floats, float]]
"""Of states (N, d) and labels (N,): weights (d,) and an intercept."""
NEWTON = 30
SHARED_FITS = 0.97
"""Level of an area's interval that covers 95 %."""
WORD = re.compile(r"[^\W_]+")


def grouped_folds(groups: Sequence[str], label: NDArray[np.bool_], folds: int, seed: int) -> Ints:
    """(N,) the fold of each item: groups stay whole, and each fold gets its share of both classes.

    There are fewer folds where there are fewer groups of a class. Raises InputError where a class has no two groups.
    """
    names = sorted(set(groups))
    code = np.unique(groups, return_inverse=True)[1]
    ones, size = np.bincount(code, label, len(names)), np.bincount(code, minlength=len(names))
    fewest = min(int((ones > 0).sum()), int((ones < size).sum()))
    if fewest < 2:
        what = "with label 1" if (ones > 0).sum() < 2 else "with label 0"
        raise InputError(
            f"there are too few groups {what} to hold some out; give items of both labels in at least two groups each."
        )
    order = np.random.default_rng(seed).permutation(len(names))
    order = order[np.argsort(-(ones / size)[order], kind="stable")]  # alike beside alike, dealt out in turn
    fold = np.empty(len(names), int)
    fold[order] = np.arange(len(names)) % min(folds, fewest)
    return fold[code]


def shuffled_labels(groups: Sequence[str], label: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
    """(N,) labels that mean nothing: changed round within groups that have both, else dealt out to whole groups anew."""
    code = np.unique(groups, return_inverse=True)[1]
    shares = np.bincount(code, label) / np.bincount(code)
    if np.isin(shares, (0, 1)).all():
        return np.asarray(rng.permutation(shares)[code] > 0.5)
    out = label.copy()
    for group in range(len(shares)):
        out[code == group] = rng.permutation(label[code == group])
    return out


def difference_of_means(states: Floats, label: NDArray[np.bool_]) -> tuple[Floats, float]:
    """(d,) mean of class 1 minus mean of class 0, and the intercept at which the middle between them scores 0."""
    one, other = states[label].mean(axis=0), states[~label].mean(axis=0)
    direction = one - other
    return direction, float(-(one + other) @ direction / 2)


def ridge_logistic(states: Floats, label: NDArray[np.bool_], ridge: float = 1.0) -> tuple[Floats, float]:
    """(d,) weights of a logistic regression and its intercept, with ``ridge`` / 2 times the weights' squares.

    Features are centred and scaled so that an item has length 1 on average. The fit is made in the span of the items.
    """
    center = states.mean(axis=0)
    spread = np.maximum(states.std(axis=0), 1e-5 * max(float(np.abs(states).max()), 1e-30)) * states.shape[1] ** 0.5
    x = (states - center) / spread
    left, size, right = np.linalg.svd(x, full_matrices=False)
    keep = size > 1e-9 * max(float(size[0]), 1e-30)
    z = np.concatenate([left[:, keep] * size[keep], np.ones((len(x), 1))], axis=1)
    penalty = np.full(z.shape[1], ridge)
    penalty[-1] = 1e-6
    w = np.zeros(z.shape[1])
    for _ in range(NEWTON):
        p = expit(z @ w)
        slope = z.T @ (p - label) + penalty * w
        step = np.linalg.solve((z.T * (p * (1 - p))) @ z + np.diag(penalty), slope)
        w -= step / max(1.0, float(np.abs(z @ step).max()) / 4)  # no item's log-odds change by more than 4 at once
        if np.abs(step).max() < 1e-8:
            break
    weights = (w[:-1] @ right[keep]) / spread
    return weights, float(w[-1] - weights @ center)


def held_out_scores(states: Floats, label: NDArray[np.bool_], fold: Ints, fit: Fit) -> Floats:
    """(N,) what the fit to the other folds says of each item, in standard deviations of that fit's own scores."""
    out = np.empty(len(label))
    for k in range(int(fold.max()) + 1):
        held, others = fold == k, fold != k
        weights, intercept = fit(states[others], label[others])
        scale = float((states[others] @ weights + intercept).std())
        out[held] = (states[held] @ weights + intercept) / scale if scale > 1e-12 else 0.0
    return out


def held_out_area(scores: ArrayLike, label: ArrayLike, groups: Sequence[str]) -> Interval:
    """Area under the curve of held-out ``scores`` (N,), with an interval over groups.

    Fits that share most of their items err together, so that the plain interval of 95 % covers 92 %. That of 97 % covers 95 %,
    simulated with labels that mean nothing.
    """
    return auc(scores, label, groups, SHARED_FITS)


def word_counts(texts: Sequence[str]) -> Floats:
    """(N, words) whether a text has a word, of those that at least two texts have and not all: a bag of words."""
    bags = [set(WORD.findall(text.lower())) for text in texts]
    counts: dict[str, int] = {}
    for bag in bags:
        for word in bag:
            counts[word] = counts.get(word, 0) + 1
    words = {word: k for k, word in enumerate(sorted(w for w, n in counts.items() if 2 <= n < len(texts)))}
    out = np.zeros((len(texts), max(len(words), 1)))
    for i, bag in enumerate(bags):
        out[i, [words[word] for word in bag if word in words]] = 1
    return out


def random_directions(n: int, norm: float, hidden: int, seed: int) -> Floats:
    """(n, d) directions drawn evenly, each of length ``norm``."""
    drawn = np.random.default_rng([seed, 57]).normal(size=(n, hidden))
    return np.asarray(norm * drawn / np.linalg.norm(drawn, axis=1, keepdims=True))
