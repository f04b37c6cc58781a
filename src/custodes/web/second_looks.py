"""Judgments made alone and again with help: what help changes, whether for the better, and who only nods."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from custodes.feedback.items import Item, follows, gold_result
from custodes.feedback.teams import TeamReview, analyse
from custodes.stats import mean_interval, paired_difference, rate
from custodes.types import Judgment

NODS = 0.5
"""Seconds within which nobody can have read the help: accepting it faster is rubber-stamping."""
MARK = "-assisted-"


@dataclass(frozen=True)
class Twice:
    """One question that somebody answered alone and then with help."""

    item: Item
    alone: Judgment
    assisted: Judgment

    @property
    def changed(self) -> bool:
        return self.alone.stance() != self.assisted.stance()

    @property
    def nods(self) -> bool:
        return self.assisted.seconds is not None and self.assisted.seconds < NODS


def final(judgments: Iterable[Judgment]) -> list[Judgment]:
    """The judgments that count: of what was judged twice, those with help."""
    every = list(judgments)
    twice = {judgment.id.split("-")[0] for judgment in every if MARK in judgment.id}
    return [j for j in every if MARK in j.id or j.id.split("-")[0] not in twice]


def _judged_twice(judgments: Iterable[Judgment], items_by_task: Mapping[str, Item]) -> list[Twice]:
    """Both answers to every question that was judged twice, in the order of the second ones."""
    by_id = {judgment.id: judgment for judgment in judgments}
    return [
        Twice(items_by_task[second.task], first, second)
        for id_, second in by_id.items()
        if MARK in id_
        and second.task in items_by_task
        and second.stance() is not None
        and (first := by_id.get(id_.replace(MARK, "-", 1))) is not None
    ]


def second_looks(judgments: Iterable[Judgment], items_by_task: Mapping[str, Item]) -> dict[str, Any] | None:
    """What the desk shows of assisted judgments; None where there are none.

    ``followed`` is how often the help was followed by those who had not said the same alone. On gold items:
    ``accuracy`` alone and with help, and ``gain``, their paired difference. ``teams`` compares person, helper and both
    on the gold items of which the help says something: a review of arm "person", "critic" or "team" is caught where it
    is right.
    """
    pairs = _judged_twice(judgments, items_by_task)
    if not pairs:
        return None
    whose: dict[str, list[Twice]] = defaultdict(list)
    for pair in pairs:
        whose[pair.assisted.annotator].append(pair)
    results = [(p.item.id, gold_result(p.item, p.alone), gold_result(p.item, p.assisted)) for p in pairs]
    known = [(item, first, second) for item, first, second in results if first is not None and second is not None]
    items = [item for item, _, _ in known]  # several people met the same
    alone, assisted = [first for _, first, _ in known], [second for _, _, second in known]
    return {
        **_of(pairs),
        "people": {name: _of(own) for name, own in sorted(whose.items())},
        "accuracy": {
            "alone": rate(alone, items).to_dict(),
            "assisted": rate(assisted, items).to_dict(),
        },
        "gain": paired_difference(assisted, alone, items).to_dict(),
        "teams": teams_of(_reviews_of(pairs)),
    }


def _reviews_of(pairs: Sequence[Twice]) -> list[TeamReview]:
    """Assisted judgments of gold items as reviews for :func:`~custodes.feedback.teams.analyse`."""
    reviews = []
    for pair in pairs:
        right = {
            "person": gold_result(pair.item, pair.alone),
            "critic": _helper_is_right(pair.item, pair.assisted),
            "team": gold_result(pair.item, pair.assisted),
        }
        if None not in right.values():
            reviews += [TeamReview(pair.item.id, arm, bool(ok), int(not ok)) for arm, ok in right.items()]
    return reviews


def teams_of(reviews: Sequence[TeamReview]) -> dict[str, Any] | None:
    """The analysis of teams as the desk has it; None where fewer than two problems were met in every arm."""
    arms: dict[str, set[Any]] = defaultdict(set)
    for review in reviews:
        arms[review.arm].add(review.problem)
    if len(arms) < 3 or len(set.intersection(*arms.values())) < 2:
        return None
    found = analyse(reviews)
    parts = ("caught", "false", "more_caught", "fewer_false")
    return {part: {arm: i.to_dict() for arm, i in getattr(found, part).items()} for part in parts} | {
        "beats_both": found.beats_both,
        "note": found.note,
    }


def _of(pairs: Sequence[Twice]) -> dict[str, Any]:
    could = [p for p in pairs if follows(p.item, p.alone) is False]
    seconds = [p.assisted.seconds for p in pairs if p.assisted.seconds is not None]
    return {
        "answers": len(pairs),
        "changed": rate([p.changed for p in pairs], _items(pairs)).to_dict(),
        "followed": rate([follows(p.item, p.assisted) is True for p in could], _items(could)).to_dict(),
        "seconds": mean_interval(seconds).to_dict() | {"median": float(np.median(seconds)) if seconds else None},
        "rubber_stamps": rate([p.nods for p in pairs], _items(pairs)).to_dict(),
    }


def _items(pairs: Sequence[Twice]) -> list[str]:
    """What each is about: several people met the same."""
    return [p.item.id for p in pairs]


def _helper_is_right(item: Item, judgment: Judgment) -> bool | None:
    """Whether what the help says about a judgment's question is what gold says; None where one of them says nothing."""
    says = judgment.known(item.assistance.says if item.assistance else {})
    right = judgment.known(item.gold)
    if says is None or right is None:
        return None
    if isinstance(says, list):  # a span of ratings
        return bool(right[0] <= sum(says) / 2 <= right[1])
    return bool(says == right)
