"""Diversity of texts: what optimisation takes away first.

Measured within a prompt (several answers to one prompt) and across prompts (one answer to each of several),
as in Kirk et al. (arXiv 2310.06452). A *group* is a list of texts whose diversity is one number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

Embed = Callable[[Sequence[str]], "NDArray[np.float64] | csr_matrix"]
NGRAMS = (1, 2, 3, 4)
BLOCK = 16  # prompts per group when diversity across prompts is measured


def _expectation_adjusted_distinct(texts: Iterable[str], n: int, vocabulary: int) -> float:
    """Distinct word n-grams over the number expected at this length (EAD, Liu et al., arXiv 2202.13587, eq. 4).

    Plain distinct-n falls as texts grow longer, EAD does not. ``vocabulary`` is the number of n-grams that
    could occur; use the same for every set that is compared (:func:`ngram_vocabulary`). nan without n-grams.
    """
    grams = [gram for text in texts for gram in _ngrams(text, n)]
    if not grams:
        return float("nan")
    expected = vocabulary * -np.expm1(len(grams) * np.log1p(-1 / vocabulary)) if vocabulary > 1 else 1.0
    return len(set(grams)) / float(expected)


def ngram_vocabulary(texts: Iterable[str], n: int) -> int:
    """How many distinct word n-grams occur in ``texts``: pass all sets that are compared together."""
    return len({gram for text in texts for gram in _ngrams(text, n)})


def distinct(groups: Sequence[Sequence[str]], vocabulary: dict[int, int]) -> NDArray[np.float64]:
    """EAD of each group (G,), averaged over the n-gram lengths that are keys of ``vocabulary``."""
    return np.array(
        [
            np.mean([_expectation_adjusted_distinct(group, n, size) for n, size in vocabulary.items()])
            for group in groups
        ]
    )


def distance(groups: Sequence[Sequence[str]], embed: Embed | None = None) -> NDArray[np.float64]:
    """Mean cosine distance between the texts of each group (G,), 0 (all the same) to 1; nan for a group of one.

    ``embed`` maps B texts to vectors (B, d); by default counts of character trigrams.
    """
    vectors = (embed or _character_ngrams)([text for group in groups for text in group])
    rows = csr_matrix(vectors)
    norms = np.sqrt(np.asarray(rows.multiply(rows).sum(axis=1)).ravel())
    rows = csr_matrix(rows.multiply((1 / np.maximum(norms, 1e-12))[:, None]))
    out, start = np.full(len(groups), np.nan), 0
    for i, group in enumerate(groups):
        k = len(group)
        if k > 1:
            # the sum over pairs of unit vectors is what the squared length of their sum adds to their own
            unit = rows[start : start + k]
            total = np.asarray(unit.sum(axis=0)).ravel()
            own = float(unit.multiply(unit).sum())
            out[i] = 1 - (float(total @ total) - own) / (k * (k - 1))
        start += k
    return out


def repetition(text: str, n: int = 4) -> float:
    """Share of the text's word n-grams that occurred before in the same text: 0 never repeats."""
    grams = _ngrams(text, n)
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def _character_ngrams(texts: Sequence[str], n: int = 3) -> csr_matrix:
    """Counts of character n-grams, case folded: a sparse (B, distinct n-grams) matrix."""
    index: dict[str, int] = {}
    rows, columns, counts = [], [], []
    for row, text in enumerate(texts):
        folded = text.casefold()
        for gram, count in Counter(folded[i : i + n] for i in range(max(len(folded) - n + 1, 1))).items():
            rows.append(row)
            columns.append(index.setdefault(gram, len(index)))
            counts.append(float(count))
    return csr_matrix((counts, (rows, columns)), shape=(len(texts), max(len(index), 1)))


def across(groups: Sequence[Sequence[str]], block: int = BLOCK) -> list[list[str]]:
    """Groups across prompts: the first answer to each of ``block`` prompts; blocks are disjoint, so that an
    interval over blocks is honest (resampling prompts would repeat texts and lower diversity by itself)."""
    firsts = [group[0] for group in groups if group]
    return [firsts[i : i + block] for i in range(0, len(firsts) - block + 1, block)]


def _ngrams(text: str, n: int) -> list[tuple[str, ...]]:
    """Word n-grams, case folded, words separated by white space."""
    words = text.casefold().split()
    return list(zip(*(words[i:] for i in range(n)), strict=False))
