"""Rules tell the inserted bug from what is false or petty; simulated raters err as stated."""

import numpy as np
import pytest

from custodes.critic.rating import (
    AXES,
    SimulatedRater,
    _concepts,
    _describes,
    _nitpick,
    description_task,
    judge,
    rate,
    rating_agreement,
    verdict,
)
from custodes.critic.tamper import candidates, tamper
from custodes.feedback.critique import Critique, Finding
from custodes.types import Episode, InputError

CODE = """def last(items, count):
    found = []
    for i in range(len(items) - count, len(items)):
        found.append(items[i])
    return found
"""
EDIT = next(e for e in candidates(CODE, 99) if e.operator == "range_bound" and e.text == "len(items) - 1")
MADE = tamper(CODE, [EDIT])
(BUG,) = MADE.bugs
LINE = MADE.code.split("\n")[2]


def rated(*findings: tuple[str, str]):
    return rate(Critique(tuple(Finding(q, c) for q, c in findings)), MADE.code, MADE.bugs)


def test_the_bug_is_included_when_its_line_is_quoted_and_it_is_described():
    result = rated((LINE, "The range stops one element early, so the last item is left out."))
    assert (result.located, result.included, result.hallucinations) == (1, 1, 0)
    assert result.scales()["cbi"] == 7


def test_the_right_line_with_another_story_is_only_nearby():
    result = rated((LINE, "This opens a file and leaks it."))
    assert (result.located, result.included) == (1, 0)
    assert result.scales()["cbi"] == 4


def test_findings_elsewhere_are_hallucinations_and_so_are_quotes_that_do_not_occur():
    result = rated(("    found = []", "This list is never returned."), ("items.pop()", "Wrong element."))
    assert [f.kind for f in result.findings] == ["hallucination", "misquote"]
    assert result.scales()["hallucination"] == 7


def test_petty_remarks_are_nitpicks_with_a_category():
    result = rated(
        ("    found = []", "A more descriptive name would be clearer; consider renaming."), (LINE, "Add type hints.")
    )
    assert [f.kind for f in result.findings] == ["nitpick", "nitpick"]
    assert [f.category for f in result.findings] == ["naming", "typing"]
    assert _nitpick("The index is wrong.") == ""


def test_every_description_describes_its_own_bug_and_few_others():
    bugs = [tamper(CODE, [e]).bugs[0] for e in candidates(CODE, 99)]
    assert all(_describes(bug.description, bug) for bug in bugs)
    assert all(_concepts(bug.description) for bug in bugs)
    assert not _describes("Looks fine to me.", BUG)


def test_clean_code_is_best_served_by_silence():
    silent = rate(Critique(), CODE, ())
    loud = rate(Critique((Finding("    found = []", "The list is never filled."),)), CODE, ())
    assert silent.scales()["overall"] == 7
    assert loud.scales()["overall"] < 4
    assert set(silent.scales()) == set(AXES)


def test_a_simulated_rater_errs_as_often_as_it_says():
    truth = rated((LINE, "The range stops one element early, so the last item is left out."))
    rater = SimulatedRater(id="r", slip=0.2, spread=0.0)
    values = [{j.axis: j.value for j in rater.ratings("t", f"e{i}", f"critique {i}", truth)} for i in range(600)]
    slipped = np.mean([v["cbi"] == 1 for v in values])
    assert 0.15 < slipped < 0.25
    assert {v["comprehensiveness"] for v in values} == {7}
    assert rater.annotator.kind == "simulated"
    assert rater.annotator.profile["slip"] == 0.2


def test_a_simulated_rater_says_the_same_again():
    truth, rater = rated((LINE, "Off by one.")), SimulatedRater(id="r")
    assert rater.ratings("t", "e", "c", truth) == rater.ratings("t", "e", "c", truth)
    assert len(rater.ratings("t", "e", "c", truth)) == 6


class Says:
    """An engine that answers yes to comments that hold a word."""

    def generate(self, tasks, sampling, prefixes=None):
        from custodes.types import Message

        none = (np.zeros(0, np.int32), np.zeros(0, np.bool_), np.zeros(0, np.float32))
        answers = ["Yes." if "early" in t.messages[0].content.split("comment on")[1] else "no" for t in tasks]
        answers = ["perhaps" if "unsure" in t.messages[0].content else a for t, a in zip(tasks, answers, strict=True)]
        return [
            Episode(t.id, t, (*t.messages, Message("assistant", a)), *none, "stop", "says")
            for t, a in zip(tasks, answers, strict=True)
        ]


def test_a_models_judgment_is_set_beside_the_rules():
    pairs = [
        ("The range ends one element early.", BUG),
        ("unsure", BUG),
        ("Nice weather.", BUG),
        ("The last item of `range` is missing.", BUG),
    ]
    said = [verdict(answer) for answer in judge(Says(), pairs)]
    assert said == [True, None, False, False]
    found = rating_agreement(said, pairs, "abcd")
    assert (found.comments, found.unread, found.share.n) == (3, 1, 3)
    assert found.share.estimate == pytest.approx(2 / 3)  # the rules find the last one described
    with pytest.raises(InputError, match="one for each"):
        rating_agreement(said[:2], pairs, "ab")


GOOD, BAD = ("The range ends one element early.", BUG), ("Nice weather.", BUG)


def test_kappa_is_what_is_agreed_beyond_chance():
    pairs = [GOOD] * 25 + [BAD] * 25  # the example of Cohen's kappa everywhere: 20, 5, 10, 15
    said = [True] * 20 + [False] * 5 + [True] * 10 + [False] * 15
    found = rating_agreement(said, pairs, range(50))
    assert found.share.estimate == pytest.approx(0.7)
    assert found.kappa.estimate == pytest.approx(0.4)
    assert found.kappa.low < 0.4 < found.kappa.high
    blind = rating_agreement([True] * 50, pairs, range(50))
    assert (blind.share.estimate, blind.kappa.estimate) == (0.5, 0)


def test_comments_on_one_function_are_no_more_evidence_than_functions():
    pairs, said = [GOOD, BAD] * 20, [True, True] * 10 + [True, False] * 10
    alone = rating_agreement(said, pairs, range(40))
    together = rating_agreement(said, pairs, [i // 4 for i in range(40)])
    assert alone.share.estimate == together.share.estimate
    assert (alone.share.n, together.share.n) == (40, 10)
    assert together.share.high - together.share.low > alone.share.high - alone.share.low


def test_agreement_in_everything_leaves_a_doubt_and_where_nothing_differs_there_is_no_kappa():
    found = rating_agreement([True, False], [GOOD, BAD], "ab")
    assert found.share.low < found.share.estimate == found.kappa.estimate == 1
    assert np.isnan(rating_agreement([False, False], [BAD, BAD], "ab").kappa.estimate)
    nothing = rating_agreement([None], [GOOD], "a")
    assert (nothing.comments, nothing.unread, nothing.to_dict()["share"]["estimate"]) == (0, 1, None)


def test_a_judge_is_asked_the_same_question_about_the_same_words():
    assert description_task(*GOOD).id == description_task(*GOOD).id != description_task(*BAD).id
    assert GOOD[0] in description_task(*GOOD).messages[0].content
    assert BUG.description in description_task(*GOOD).messages[0].content
