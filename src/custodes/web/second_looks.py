"""Judgments made alone and again with help, or with help at random: what help changes, whether for the better, who only nods."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from custodes.feedback.items import Item, follows, gold_result
from custodes.feedback.kinds.rating import Rating
from custodes.feedback.teams import TeamReview, analyse
from custodes.stats import jackknife, mean_interval, paired_difference, rate
from custodes.types import Floats, Judgment

NODS = 0.5
"""Seconds within which nobody can have read the help: accepting it faster is rubber-stamping."""
MARK = "-assisted-"


class SecondLook(NamedTuple):
    """One question that somebody answered alone and then with help."""

    item: Item
    alone: Judgment
    assisted: Judgment


def final(judgments: Iterable[Judgment]) -> list[Judgment]:
    """The judgments that count: of what was judged twice, those with help."""
    every = list(judgments)
    twice = {judgment.id.split("-")[0] for judgment in every if MARK in judgment.id}
    return [j for j in every if MARK in j.id or j.id.split("-")[0] not in twice]


def second_looks(judgments: Iterable[Judgment], items_by_task: Mapping[str, Item]) -> dict[str, Any] | None:
    """What the desk shows of assisted judgments; None where there are none.

    ``followed`` is how often the help was followed by those who had not said the same alone. On gold items:
    ``accuracy`` alone and with help, and ``gain``, their paired difference. ``teams`` compares person, helper and both
    on the gold items of which the help says something: a review of arm "person", "critic" or "team" is caught where it
    is right.
    """
    by_id = {judgment.id: judgment for judgment in judgments}
    looks = [
        SecondLook(items_by_task[second.task], first, second)
        for id_, second in by_id.items()
        if MARK in id_
        and second.task in items_by_task
        and second.stance() is not None
        and (first := by_id.get(id_.replace(MARK, "-", 1))) is not None
    ]
    if not looks:
        return None
    by_person: dict[str, list[SecondLook]] = defaultdict(list)
    for look in looks:
        by_person[look.assisted.annotator].append(look)
    results = [(of.item.id, gold_result(of.item, of.alone), gold_result(of.item, of.assisted)) for of in looks]
    known = [(item, first, second) for item, first, second in results if first is not None and second is not None]
    items, alone, assisted = [[row[n] for row in known] for n in range(3)]  # several people met the same item
    return {
        **_summary(looks),
        "people": {name: _summary(own) for name, own in sorted(by_person.items())},
        "accuracy": {"alone": rate(alone, items).to_dict(), "assisted": rate(assisted, items).to_dict()},
        "gain": paired_difference(assisted, alone, items).to_dict(),
        "teams": teams_of(_reviews_of(looks)),
    }


def by_chance(judgments: Iterable[Judgment], items_by_task: Mapping[str, Item]) -> dict[str, Any] | None:
    """What help does where a coin gave it to some and not to others; None unless there are judgments of both.

    ``right`` is the accuracy on gold items, ``right_about`` the same where the help is right and where it is wrong: there
    one sees who is misled. ``below_top`` is how often an answer was rated below the scale's highest. ``agrees`` is how often a judgment says what the help says, and ``seconds`` the time a judgment.
    Each holds ``alone``, ``helped`` and ``more``, helped minus alone, whose interval is over items.
    """
    rows = [(items_by_task[j.task], j) for j in judgments if j.task in items_by_task and j.stance() is not None]
    rows = [(item, j) for item, j in rows if item.assistance is not None]
    if len({bool(j.assistance) for _, j in rows}) < 2:
        return None
    right = [(item, j, gold_result(item, j)) for item, j in rows]
    return {
        "answers": {name: sum(bool(j.assistance) is on for _, j in rows) for name, on in _ARMS},
        "right": _contrast(right),
        "right_about": {
            "right help": _contrast([row for row in right if _helper_is_right(row[0], row[1]) is True]),
            "wrong help": _contrast([row for row in right if _helper_is_right(row[0], row[1]) is False]),
        },
        "below_top": _contrast([(item, j, float(j.value < j.highest)) for item, j in rows if isinstance(j, Rating)]),
        "agrees": _contrast([(item, j, follows(item, j)) for item, j in rows]),
        "seconds": _contrast([(item, j, j.seconds) for item, j in rows]),
    }


_ARMS = (("alone", False), ("helped", True))
_ANY = (-math.inf, math.inf)


def _contrast(rows: Sequence[tuple[Item, Judgment, float | None]]) -> dict[str, Any] | None:
    """Means alone and with help, and their difference with its jackknife over items; None unless there are both."""
    known = [(item.id, bool(j.assistance), float(value)) for item, j, value in rows if value is not None]
    if len({helped for _, helped, _ in known}) < 2:
        return None
    interval, bounds = (rate, (-1.0, 1.0)) if all(value in (0, 1) for *_, value in known) else (mean_interval, _ANY)
    code = {id: n for n, id in enumerate(dict.fromkeys(id for id, _, _ in known))}
    sums, counts = np.zeros((len(code), 2)), np.zeros((len(code), 2))
    for id, helped, value in known:
        sums[code[id], int(helped)] += value
        counts[code[id], int(helped)] += 1

    def more(sums: Floats, counts: Floats) -> float:
        with np.errstate(invalid="ignore"):
            alone, helped = sums.sum(0) / counts.sum(0)
        return float(helped - alone)

    told = {"more": jackknife(more, sums, counts, bounds=bounds).to_dict()}
    for name, on in _ARMS:
        of = [(id, value) for id, helped, value in known if helped is on]
        told[name] = interval([value for _, value in of], [id for id, _ in of]).to_dict()
    return told


def _reviews_of(looks: Sequence[SecondLook]) -> list[TeamReview]:
    """Assisted judgments of gold items as reviews for :func:`~custodes.feedback.teams.analyse`."""
    reviews = []
    for item, alone, assisted in looks:
        right = {
            "person": gold_result(item, alone),
            "critic": _helper_is_right(item, assisted),
            "team": gold_result(item, assisted),
        }
        if None not in right.values():
            reviews += [TeamReview(item.id, arm, bool(ok), int(not ok)) for arm, ok in right.items()]
    return reviews


def teams_of(reviews: Sequence[TeamReview]) -> dict[str, Any] | None:
    """The analysis of teams as the desk has it; None where fewer than two problems were met in every arm."""
    arms: dict[str, set[Any]] = defaultdict(set)
    for review in reviews:
        arms[review.arm].add(review.problem)
    if len(arms) < 3 or len(set.intersection(*arms.values())) < 2:
        return None
    teams = analyse(reviews)
    measures = ("caught", "false", "more_caught", "fewer_false")
    rates = {name: {arm: i.to_dict() for arm, i in getattr(teams, name).items()} for name in measures}
    return rates | {"beats_both": teams.beats_both, "note": teams.note}


def _summary(looks: Sequence[SecondLook]) -> dict[str, Any]:
    differed = [look for look in looks if follows(look.item, look.alone) is False]
    seconds = [look.assisted.seconds for look in looks if look.assisted.seconds is not None]
    items = [look.item.id for look in looks]  # several people met the same item
    nods = [look.assisted.seconds is not None and look.assisted.seconds < NODS for look in looks]
    followed = rate([follows(look.item, look.assisted) is True for look in differed], [of.item.id for of in differed])
    return {
        "answers": len(looks),
        "changed": rate([look.alone.stance() != look.assisted.stance() for look in looks], items).to_dict(),
        "followed": followed.to_dict(),
        "seconds": mean_interval(seconds).to_dict() | {"median": float(np.median(seconds)) if seconds else None},
        "rubber_stamps": rate(nods, items).to_dict(),
    }


def _helper_is_right(item: Item, judgment: Judgment) -> bool | None:
    """Whether what the help says about a judgment's question is what gold says; None where one of them says nothing."""
    says = judgment.known(item.assistance.says if item.assistance else {})
    right = judgment.known(item.gold)
    if says is None or right is None:
        return None
    if isinstance(says, list):  # a span of ratings
        return bool(right[0] <= sum(says) / 2 <= right[1])
    return bool(says == right)
