"""Is the number that a reply ends with the right one? For data sets such as GSM8K."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from custodes.registry import reward

MARK = "####"
"""Stands before the final number in GSM8K (arXiv 2110.14168)."""
NUMBER = re.compile(r"(?:(?<![\w.,)])[-\u2212+])?[$€£]?(\d{1,3}(?:,\d{3})+(?!\d)|\d+)?(\.\d+)?")


@reward
def numeric_answer(
    completions: Sequence[Any],
    answer: Sequence[Any] | None = None,
    solution: Sequence[Any] | None = None,
    **columns: Any,
) -> list[float | None]:
    """1 where the completion's final number equals that of the column ``answer`` (or ``solution``), else 0.

    The final number stands after ``####`` where that mark is, and else last in the text. Thousands may be apart by commas;
    signs, decimals and currencies are read. No opinion where a task has no such number.
    """
    right = answer if answer is not None else solution if solution is not None else [None] * len(completions)
    graded: list[float | None] = []
    for completion, truth in zip(completions, right, strict=True):
        text = completion if isinstance(completion, str) else str(completion[-1]["content"])
        wanted = None if truth is None else _final_number(str(truth))
        graded.append(None if wanted is None else float(_final_number(text) == wanted))
    return graded


def _final_number(text: str) -> Decimal | None:
    """The number after the last ``####``, or the last of the text where that mark is not; None where there is none."""
    marked = text.rpartition(MARK)[2]
    found = [m for m in NUMBER.finditer(marked) if m[1] or m[2]]
    if not found:
        return None
    match = found[0] if MARK in text else found[-1]
    value = Decimal((match[1] or "0").replace(",", "") + (match[2] or ""))
    return -value if match[0][0] in "-\u2212" else value
