"""Who gets what next: shares are kept, nothing comes twice, the end is the end."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from custodes.feedback.assignment import (
    AnnotationProgress,
    Assignee,
    OpenItem,
    choose,
    finished,
    over_quota,
    shown_order,
)
from custodes.feedback.project import TEMPLATE, Assignment, Quota, Stopping, parse_project

OPEN = [OpenItem(f"i{n}", done=n % 3, leased=n % 2, information=n / 10) for n in range(6)]


def test_gold_and_repeats_keep_their_shares_and_come_unforeseen():
    rules = Assignment(gold_share=0.2, repeat_share=0.1)
    person = Assignee("ann", judged=("r1", "r2"))
    kinds = [choose(rules, replace(person, given=n), OPEN, ["g1", "g2"]).purpose for n in range(2000)]
    assert 0.17 < kinds.count("gold") / 2000 < 0.23
    assert 0.08 < kinds.count("repeat") / 2000 < 0.12
    gaps = np.diff(np.flatnonzero(np.array(kinds) == "gold"))
    assert gaps.std() > 0.7 * gaps.mean()  # geometric, not every fifth


def test_the_same_turn_gives_the_same_choice():
    rules = Assignment()
    for n in range(50):
        assert choose(rules, Assignee("ann", given=n), OPEN, ["g"]) == choose(
            rules, Assignee("ann", given=n), OPEN, ["g"]
        )


def test_items_that_were_begun_are_finished_first():
    rules = Assignment(gold_share=0, repeat_share=0)
    assert choose(rules, Assignee("ann"), OPEN, []).item == "i2"  # two have judged it, nobody has it before them
    people = {choose(rules, Assignee("ann"), [OpenItem(f"i{n}") for n in range(9)], [], seed=s).item for s in range(20)}
    assert len(people) > 4  # the order of untouched items is drawn


def test_active_selection_takes_what_teaches_most_and_counts_answers_on_their_way():
    rules = Assignment(gold_share=0, repeat_share=0, selection="active")
    items = [OpenItem("a", information=0.5, leased=2), OpenItem("b", information=0.2), OpenItem("c", information=0.3)]
    assert choose(rules, Assignee("ann"), items, []).item == "c"


def test_nothing_is_given_beyond_the_limit_or_when_nothing_is_left():
    assert choose(Assignment(most_per_annotator=5), Assignee("ann", given=5), OPEN, []) is None
    assert choose(Assignment(gold_share=0), Assignee("ann"), [], []) is None
    assert choose(Assignment(gold_share=0.1), Assignee("ann"), [], ["g"]).purpose == "gold"


def test_orders_are_balanced_and_differ_between_people():
    firsts = [shown_order(0, f"p{n}", "item", 0, 2)[0] for n in range(1000)]
    assert 0.45 < np.mean(firsts) < 0.55
    assert sorted(shown_order(0, "p", "item", 0, 4)) == [0, 1, 2, 3]


def test_quotas_close_when_a_group_has_its_share():
    quotas = [Quota(field="country", shares={"DE": 0.75, "FR": 0.25})]
    progress = AnnotationProgress(wanted=100, groups={"country": {"DE": 74, "FR": 25}})
    assert over_quota(quotas, {"country": "DE"}, progress) is None
    assert over_quota(quotas, {"country": "FR"}, progress) == "country: FR"
    assert over_quota(quotas, {}, progress) == "country: not given"
    assert over_quota([], {}, progress) is None


@pytest.mark.parametrize(
    ("stopping", "progress", "why"),
    [
        (Stopping(), AnnotationProgress(5, 10), None),
        (Stopping(), AnnotationProgress(10, 10), "every item has its overlap"),
        (Stopping(judgments=5), AnnotationProgress(5, 10), "5 judgments were given"),
        (Stopping(hours=2.0), AnnotationProgress(5, 10, hours=2.5), "2.5 hours"),
        (Stopping(uncertainty=0.1), AnnotationProgress(5, 10, uncertainty=0.2), None),
        (Stopping(uncertainty=0.1), AnnotationProgress(5, 10, uncertainty=0.05), "0.050"),
    ],
)
def test_stopping_rules(stopping, progress, why):
    project = parse_project(TEMPLATE).model_copy(update={"stopping": stopping})
    found = finished(project, progress)
    assert (found is None) if why is None else (why in (found or ""))
