"""A model as judge of critiques is set beside the rules."""

import numpy as np
import pytest
from test_rating import BUG

from custodes.critic.judge import _description_task, _judge, _rating_agreement, _verdict
from custodes.types import Episode, InputError


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
    said = [_verdict(answer) for answer in _judge(Says(), [_description_task(*pair) for pair in pairs])]
    assert said == [True, None, False, False]
    found = _rating_agreement(said, pairs, "abcd")
    assert (found["comments"], found["unread"], found["share"].n) == (3, 1, 3)
    assert found["share"].estimate == pytest.approx(2 / 3)  # the rules find the last one described
    with pytest.raises(InputError, match="one for each"):
        _rating_agreement(said[:2], pairs, "ab")


GOOD, BAD = ("The range ends one element early.", BUG), ("Nice weather.", BUG)


def test_kappa_is_what_is_agreed_beyond_chance():
    pairs = [GOOD] * 25 + [BAD] * 25  # the example of Cohen's kappa everywhere: 20, 5, 10, 15
    said = [True] * 20 + [False] * 5 + [True] * 10 + [False] * 15
    found = _rating_agreement(said, pairs, range(50))
    assert found["share"].estimate == pytest.approx(0.7)
    assert found["kappa"].estimate == pytest.approx(0.4)
    assert found["kappa"].low < 0.4 < found["kappa"].high
    blind = _rating_agreement([True] * 50, pairs, range(50))
    assert (blind["share"].estimate, blind["kappa"].estimate) == (0.5, 0)


def test_comments_on_one_function_are_no_more_evidence_than_functions():
    pairs, said = [GOOD, BAD] * 20, [True, True] * 10 + [True, False] * 10
    alone = _rating_agreement(said, pairs, range(40))
    together = _rating_agreement(said, pairs, [i // 4 for i in range(40)])
    assert alone["share"].estimate == together["share"].estimate
    assert (alone["share"].n, together["share"].n) == (40, 10)
    assert together["share"].high - together["share"].low > alone["share"].high - alone["share"].low


def test_agreement_in_everything_leaves_a_doubt_and_where_nothing_differs_there_is_no_kappa():
    found = _rating_agreement([True, False], [GOOD, BAD], "ab")
    assert found["share"].low < found["share"].estimate == found["kappa"].estimate == 1
    assert np.isnan(_rating_agreement([False, False], [BAD, BAD], "ab")["kappa"].estimate)
    nothing = _rating_agreement([None], [GOOD], "a")
    assert (nothing["comments"], nothing["unread"], nothing["share"].to_dict()["estimate"]) == (0, 1, None)


def test_a_judge_is_asked_the_same_question_about_the_same_words():
    assert _description_task(*GOOD).id == _description_task(*GOOD).id != _description_task(*BAD).id
    assert GOOD[0] in _description_task(*GOOD).messages[0].content
    assert BUG.description in _description_task(*GOOD).messages[0].content
