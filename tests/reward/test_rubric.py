"""A judge as a reward: what it is asked, how its grades are read, and when it has no opinion."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from made_up_rewards import episode

from custodes.feedback.rubric import Principle, Rubric
from custodes.reward.rubric import RubricReward
from custodes.types import Episode, InputError, Message, Sampling, Task

RUBRIC = Rubric(
    name="kind",
    version="1",
    grade="1-7",
    principles=(Principle(name="warm", text="Is it warm?", weight=3), Principle(name="brief", text="Is it brief?")),
)


class Judge:
    """Answers each question by a function of its text."""

    def __init__(self, say: Callable[[str], str]) -> None:
        self.say, self.asked = say, list[str]()

    def generate(self, tasks: Sequence[Task], sampling: Sampling, prefixes: object = None) -> list[Episode]:
        assert sampling.temperature == 0
        replies = []
        for task in tasks:
            self.asked.append(task.messages[0].content)
            text = self.say(task.messages[0].content)
            empty = np.zeros(0, np.int32), np.zeros(0, bool), np.zeros(0, np.float32)
            replies.append(
                Episode(task.id, task, (*task.messages, Message("assistant", text)), *empty, "stop", "judge")
            )
        return replies


def test_grades_are_between_0_and_1_and_weighted() -> None:
    scores = RubricReward(Judge(lambda asked: "7" if "warm" in asked else "Grade: 1"), RUBRIC).score([episode()])
    assert scores.parts["warm"].tolist() == [1.0]
    assert scores.parts["brief"].tolist() == [0.0]
    assert scores.value.tolist() == [0.75]


def test_the_whole_conversation_after_the_request_is_graded() -> None:
    judge, one = Judge(lambda asked: "4"), episode("Hello.")
    more = (*one.messages, Message("tool", "42"), Message("assistant", "It is 42."))
    RubricReward(judge, RUBRIC).score(
        [Episode(one.id, one.task, more, one.token_ids, one.action_mask, one.logprobs, "stop", "p")]
    )
    assert "# Request\nuser: Say something." in judge.asked[0]
    assert "assistant: Hello.\n\ntool: 42\n\nassistant: It is 42." in judge.asked[0]


def test_a_reply_without_a_grade_is_no_opinion_on_its_principle_alone() -> None:
    said = {"good": "6", "odd": "hm"}
    judge = Judge(lambda asked: "5" if "brief" in asked else next(v for k, v in said.items() if k in asked))
    scores = RubricReward(judge, RUBRIC).score([episode("good", "a"), episode("odd", "b")])
    assert np.isnan(scores.parts["warm"]).tolist() == [False, True]
    np.testing.assert_allclose(scores.value, [(3 * 5 / 6 + 4 / 6) / 4, 4 / 6])


@pytest.mark.parametrize("reply", ["8", "0", "between 3 and 5", "", "-2"])
def test_what_is_no_grade_is_never_guessed(reply: str) -> None:
    with pytest.raises(InputError, match="no grade from 1 to 7 for any of 2 episodes; of episode a it said"):
        RubricReward(Judge(lambda asked: reply), RUBRIC).score([episode(name="a"), episode(name="b")])


STATEMENTS = RUBRIC.model_copy(update={"grade": "yes-no"})


def test_an_engine_without_probabilities_says_yes_or_no() -> None:
    judge = Judge(lambda asked: "Yes, it is." if "warm" in asked else "no")
    scores = RubricReward(judge, STATEMENTS).score([episode()])
    assert "Is the statement true of the answer? Answer Yes or No." in judge.asked[0]
    assert {name: part.tolist() for name, part in scores.parts.items()} == {"warm": [1.0], "brief": [0.0]}
    assert scores.value.tolist() == [0.75]


def test_what_is_neither_yes_nor_no_is_no_opinion() -> None:
    judge = Judge(lambda asked: "Yes" if "# Answer\nassistant: good" in asked else "Yesterday")
    assert np.isnan(
        RubricReward(judge, STATEMENTS).score([episode("good", "a"), episode("odd", "b")]).value
    ).tolist() == [
        False,
        True,
    ]
    with pytest.raises(
        InputError, match="said neither yes nor no for any of 2 episodes; of episode a it said 'Yesterday'"
    ):
        RubricReward(judge, STATEMENTS).score([episode("x", "a"), episode("y", "b")])


def test_a_principle_of_negative_weight_counts_against_an_answer() -> None:
    principles = (Principle(name="warm", text="Warm."), Principle(name="rude", text="It is rude.", weight=-1))
    judge = Judge(lambda asked: "Yes")
    scores = RubricReward(judge, STATEMENTS.model_copy(update={"principles": principles})).score([episode()])
    assert (scores.parts["rude"].tolist(), scores.value.tolist()) == ([1.0], [0.0])
