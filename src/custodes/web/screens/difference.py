"""What one text has and the other has not, word by word or line by line: a longest common subsequence, found exactly.

The lengths of common subsequences are kept as the bits of integers, one for each word of the right text (Hyyrö 2004, "Bit-parallel
LCS-length computation revisited"), so that two texts of 4,000 words take hundredths of a second. This file is loaded by
``renderer.py``'s workers and imports nothing of the server.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

LONGEST = 10_000
"""Words or lines of each text, without what both begin and end with, up to which they are compared."""
UNBROKEN = "\\u3040-\\u30ff\\u3400-\\u9fff\\uf900-\\ufaff\\U00020000-\\U0003ffff"
"""Scripts that leave no blanks between words: they are compared by their characters."""
WORD = re.compile(rf"[{UNBROKEN}]|[^\W{UNBROKEN}]+|[^\w\s]")
"""A word or a sign."""

Piece = tuple[str, bool | None]
"""A stretch of text, and whether the other text lacks it; None where the two are too long to be compared."""


def differences(left: str, right: str) -> tuple[list[Piece], list[Piece]]:
    """Both texts in pieces; each one's pieces together are the whole text. White space does not count."""
    words = [[found.span() for found in WORD.finditer(text)] for text in (left, right)]
    same = _common(*([text[a:b] for a, b in places] for text, places in zip((left, right), words, strict=True)))
    if same is None:
        return [(left, None)], [(right, None)]
    return _pieces(left, words[0], {n for n, _ in same}), _pieces(right, words[1], {n for _, n in same})


def changed_lines(before: str, now: str) -> list[str] | None:
    """The lines that were taken out, after a "-", and those that were put in, after a "+"; None where there are too many."""
    old, new = before.splitlines(), now.splitlines()
    same = _common(old, new)
    if same is None:
        return None
    found = []
    for (a, b), (c, d) in pairwise([(-1, -1), *same, (len(old), len(new))]):
        found += [f"-{line}" for line in old[a + 1 : c]] + [f"+{line}" for line in new[b + 1 : d]]
    return found


def _pieces(text: str, words: Sequence[tuple[int, int]], same: set[int]) -> list[Piece]:
    pieces: list[Piece] = []
    done = 0
    for n, (start, end) in enumerate(words):
        if n not in same:
            pieces += [(text[done:start], False), (text[start:end], True)]
            done = end
    return [piece for piece in (*pieces, (text[done:], False)) if piece[0]]


def _common(left: Sequence[str], right: Sequence[str]) -> list[tuple[int, int]] | None:
    """Pairs of places of a longest common subsequence, in order; None where both are too long."""
    first, ends = 0, (len(left), len(right))
    while first < min(ends) and left[first] == right[first]:
        first += 1
    last = 0
    while last < min(ends) - first and left[-1 - last] == right[-1 - last]:
        last += 1
    inner = [some[first : len(some) - last] for some in (left, right)]
    if max(map(len, inner)) > LONGEST:
        return None
    middle = [(first + i, first + j) for i, j in _subsequence(*inner)]
    tail = [(ends[0] - n, ends[1] - n) for n in range(last, 0, -1)]
    return [(n, n) for n in range(first)] + middle + tail


def _subsequence(left: Sequence[str], right: Sequence[str]) -> list[tuple[int, int]]:
    places: dict[str, int] = {}  # word -> bits of its places at the left
    for n, word in enumerate(left):
        places[word] = places.get(word, 0) | 1 << n
    every = (1 << len(left)) - 1
    row, rows = (
        every,
        [],
    )  # bit i is 0 where left[: i + 1] has a longer subsequence than left[:i] in common with right[: j + 1]
    for word in right:
        shared = row & places.get(word, 0)
        row = ((row + shared) | (row - shared)) & every
        rows.append(row)
    found, i, j = [], len(left) - 1, len(right) - 1
    while i >= 0 and j >= 0:
        if rows[j] >> i & 1:
            i -= 1
        elif j and not rows[j - 1] >> i & 1:
            j -= 1
        else:
            found.append((i, j))
            i, j = i - 1, j - 1
    return found[::-1]
