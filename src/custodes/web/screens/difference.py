"""What one text has and the other has not, word by word."""

from __future__ import annotations

import re
from difflib import SequenceMatcher

LONGEST = 6_000
"""Words of both texts together beyond which the rest is shown as it is: the search is quadratic at worst."""

Piece = tuple[str, bool]
"""A stretch of text, and whether the other text lacks it."""


def differences(left: str, right: str) -> tuple[list[Piece], list[Piece]]:
    """Both texts in pieces; each one's pieces together are the whole text."""
    words = [re.findall(r"\w+|[^\w\s]|\s+", text) for text in (left, right)]
    heads = [some[: LONGEST // 2] for some in words]
    tails = ["".join(some[LONGEST // 2 :]) for some in words]
    found: tuple[list[Piece], list[Piece]] = ([], [])
    matcher = SequenceMatcher(None, heads[0], heads[1], autojunk=sum(map(len, heads)) > 2_000)
    for kind, *places in matcher.get_opcodes():
        for pieces, some, first, last in zip(found, heads, places[::2], places[1::2], strict=True):
            if text := "".join(some[first:last]):
                pieces.append((text, kind != "equal" and bool(text.strip())))
    for pieces, tail in zip(found, tails, strict=True):
        if tail:
            pieces.append((tail, False))
    return found
