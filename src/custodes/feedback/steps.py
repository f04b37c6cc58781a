"""Where one step of an answer ends and the next begins: what the number in a step mark counts."""

from __future__ import annotations

import re

MOST = 200
"""Steps of an answer; all that follows belongs to the last one."""
_FENCE = re.compile(r"^\s*(```|~~~)")


def steps_of(text: str) -> list[str]:
    """The steps of an answer, in order; together they are its text but for the blank lines between them.

    Paragraphs, with a fenced block of code kept whole and with what introduces it; where there is only one paragraph,
    its lines. The number of a step mark is the place in this list, from 0. There are at most ``MOST``.
    """
    paragraphs: list[list[str]] = [[]]
    fence = ""
    for line in text.splitlines():
        if (found := _FENCE.match(line)) and (not fence or found[1] == fence):
            fence = "" if fence else found[1]
        if line.strip() or fence:
            paragraphs[-1].append(line)
        elif paragraphs[-1]:
            paragraphs.append([])
    whole = [lines for lines in paragraphs if lines]
    if len(whole) == 1 and not any(_FENCE.match(line) for line in whole[0]):
        return _at_most([line.strip() for line in whole[0]], "\n")
    return _at_most(["\n".join(lines) for lines in whole], "\n\n")


def _at_most(steps: list[str], between: str) -> list[str]:
    return steps if len(steps) <= MOST else [*steps[: MOST - 1], between.join(steps[MOST - 1 :])]
