"""Habits for which somebody should be looked at: one side always, too fast to have read, gold items wrong, one value always.

Each comes with its numbers. They are reasons to look, not verdicts: an honest annotator can have any of them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from scipy.stats import binomtest

from custodes.feedback.items import Item
from custodes.feedback.kinds.comparison import Comparison
from custodes.feedback.kinds.rating import Rating
from custodes.stats import wilson
from custodes.types import Judgment
from custodes.web.export import ProjectContent, by_annotator, gold_results

LEVEL = 0.01
"""Probability that any of the honest annotators of a project is named for a side: answers are shown in a drawn order."""
ENOUGH = 10
"""Judgments from which on somebody's pace is looked at; twice as many for always the same value."""
PACE, LEAST = 20.0, 2.0
"""Words shown per second, about four times as fast as people read, and seconds: who is faster has not read."""
WANTED, GOLD = 0.75, 5
"""Share of gold items that should be right, and how many there must be: named is whose interval stays below it."""


def habits_of(content: ProjectContent, judgments: Sequence[Judgment]) -> dict[str, list[dict[str, Any]]]:
    """Per person with a habit, what it is ("side", "pace", "gold", "same") and the sentence that says so."""
    by_person = by_annotator(judgments)
    habits = {}
    for person, own in by_person.items():
        sentences = {
            "side": _side(own, LEVEL / len(by_person)),
            "pace": _pace(own, content),
            "gold": _gold(own, content.items_by_task),
            "same": _same(own),
        }
        if held := [{"what": what, "said": sentence} for what, sentence in sentences.items() if sentence]:
            habits[person] = held
    return habits


def _side(own: Iterable[Judgment], level: float) -> str:
    preferred = [j.strength > 0 for j in own if isinstance(j, Comparison) and j.strength]
    first, n = sum(preferred), len(preferred)
    if not n or (p := binomtest(first, n).pvalue) >= level:
        return ""
    side, most = ("first", first) if 2 * first > n else ("second", n - first)
    chance = "below 0.0001" if p < 0.0001 else f"{p:.4f}"
    how_often = f"The answer shown {side} is preferred {most:,} of {n:,} times"
    return f"{how_often}; the order is drawn, so by chance p is {chance}."


def _pace(own: Iterable[Judgment], content: ProjectContent) -> str:
    seconds: dict[str, float] = {}  # of an item once, however many questions were answered
    words: Counter[str] = Counter()
    for j in own:
        if j.seconds is not None and j.task in content.tasks:
            id_ = j.id.split("-")[0]
            shown = [message.content for message in content.tasks[j.task].messages]
            shown += [content.episodes[e].completion for e in j.episodes if e in content.episodes]
            seconds[id_] = j.seconds
            words[id_] = max(words[id_], sum(len(text.split()) for text in shown))
    if len(seconds) < ENOUGH:
        return ""
    usual, least = median(seconds.values()), median(max(LEAST, words[id_] / PACE) for id_ in seconds)
    if usual >= least:
        return ""
    return (
        f"Half of the {len(seconds):,} items took {usual:.1f} seconds or less, with {median(words.values()):,.0f} words on "
        f"the screen; reading them takes more than {least:.1f}."
    )


def _gold(own: Iterable[Judgment], items_by_task: Mapping[str, Item]) -> str:
    right = [result for _, result in gold_results(items_by_task, own)]
    if len(right) < GOLD or (rate := wilson(sum(right), len(right))).high >= WANTED:
        return ""
    share = f"{100 * rate.estimate:.0f} % [{100 * rate.low:.0f}, {100 * rate.high:.0f}]"
    return f"{sum(right):,} of {len(right):,} gold items are right: {share}."


def _same(own: Iterable[Judgment]) -> str:
    given: dict[str, Counter[str]] = defaultdict(Counter)
    for j in own:
        if isinstance(j, Comparison):
            given[f"comparison ({j.axis})"]["no preference" if not j.strength else "a preference"] += 1
        elif isinstance(j, Rating):
            given[f"rating ({j.axis})"][str(j.value)] += 1
    for question, values in given.items():
        (value, n), *_ = values.most_common(1)
        if len(values) == 1 and n >= 2 * ENOUGH and value != "a preference":
            return f"All {n:,} answers to the {question} are the same: {value}."
    return ""
