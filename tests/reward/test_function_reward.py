"""What becomes of a Python function that is slow, raises, or says nothing."""

from __future__ import annotations

import re
import sys
import time

import numpy as np
import pytest
from made_up_rewards import episode

from custodes.reward import FunctionReward, Mixture
from custodes.types import InputError

EPISODES = [episode("good", "e1"), episode("bad", "e2"), episode("good", "e3")]


def text_of(completion: list[dict[str, str]]) -> str:
    return completion[-1]["content"]


def test_text_is_handed_on_as_text_and_messages_as_messages() -> None:
    seen = []

    def length(prompts, completions):
        seen.append((prompts, completions))
        return [1.0 for _ in completions]

    FunctionReward(length, text=True).score(EPISODES[:1])
    FunctionReward(length).score(EPISODES[:1])
    assert seen[0] == (["Say something."], ["good"])
    assert seen[1] == ([[{"role": "user", "content": "Say something."}]], [[{"role": "assistant", "content": "good"}]])


def test_a_column_that_no_prompt_has_is_named() -> None:
    def short(completions, topic, least=3):
        return [float(len(text) > least) for text in completions]

    with pytest.raises(
        InputError, match="reward short asks for 'topic', and the prompts have no such column; it can have prompts"
    ):
        FunctionReward(short).score(EPISODES)
    told = [episode("good", topic="cats"), episode("bad", topic="dogs")]
    assert FunctionReward(short, text=True).score(told).value.tolist() == [1.0, 0.0]


def test_a_coroutine_is_waited_for() -> None:
    async def slow(completions):
        return [2.0 for _ in completions]

    assert FunctionReward(slow).score(EPISODES).value.tolist() == [2.0, 2.0, 2.0]


def test_an_error_names_the_function_the_line_and_the_episode() -> None:
    def picky(completions):
        for completion in completions:
            if text_of(completion) == "bad":
                raise ValueError("I do not like it")
        return [1.0 for _ in completions]

    with pytest.raises(InputError) as caught:
        FunctionReward(picky).score(EPISODES)
    said = str(caught.value)
    assert re.search(
        r"reward picky raised ValueError: I do not like it at \S+, line \d+, for episode e2 \(task t\)\.", said
    )
    assert isinstance(caught.value.__cause__, ValueError)  # a notebook shows where


def test_a_function_that_ends_python_ends_with_a_sentence() -> None:
    def leaves(completions):
        sys.exit(3)

    with pytest.raises(InputError, match=r"reward leaves raised SystemExit: 3 at \S+, line \d+, for episode e1"):
        FunctionReward(leaves).score(EPISODES)


def test_what_fails_only_together_says_so() -> None:
    def crowd(completions):
        assert len(completions) < 2, "too many"
        return [0.0]

    with pytest.raises(InputError, match=r"for 3 episodes together \(the first is e1\) and for none of them alone"):
        FunctionReward(crowd).score(EPISODES)


@pytest.mark.parametrize("stubborn", [False, True])
def test_a_function_that_hangs_is_stopped_and_its_episode_named(stubborn: bool) -> None:
    def hang(completions):
        for completion in completions:
            while text_of(completion) == "bad":
                try:
                    time.sleep(0.01)
                except Exception:
                    if not stubborn:
                        raise
        return [1.0 for _ in completions]

    began = time.monotonic()
    with pytest.raises(InputError, match=r"reward hang did not answer in 0\.3 s, for episode e2"):
        FunctionReward(hang, seconds=0.3).score(EPISODES)
    assert time.monotonic() - began < 20


def test_a_catastrophic_pattern_is_stopped_too() -> None:
    def evil(completions):
        return [float(bool(re.fullmatch(r"(a+)+b", "a" * 64))) for _ in completions]

    with pytest.raises(InputError, match="did not answer"):
        FunctionReward(evil, seconds=0.3).score(EPISODES[:1])


def test_a_function_that_is_done_in_time_is_left_alone() -> None:
    assert FunctionReward(lambda completions: [1.0] * len(completions), "f", seconds=5).score(EPISODES).value.sum() == 3
    time.sleep(0.05)  # no alarm is left


def test_parts_without_an_opinion_leave_the_sum_to_the_others() -> None:
    some = FunctionReward(lambda completions: [None if text_of(c) == "bad" else 4.0 for c in completions], "some")
    all_ = FunctionReward(lambda completions: [1.0] * len(completions), "all")
    assert Mixture([("some", some, 0.5), ("all", all_, 1.0)]).score(EPISODES).value.tolist() == [3.0, 1.0, 3.0]
    both = Mixture([("some", some, 1.0), ("again", some, -1.0)]).score(EPISODES)
    assert np.isnan(both.value).tolist() == [False, True, False]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1e31, 10**400, "much"])
def test_what_is_no_score_is_refused(value: object) -> None:
    with pytest.raises(InputError, match="it must return a finite number, at most 1e"):
        FunctionReward(lambda completions: [value for _ in completions]).score(EPISODES)
