"""Rewards combine by arithmetic; functions with TRL's signature are rewards."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up_rewards import episode

from custodes.reward import FunctionReward, Mixture, RewardBase, mixture
from custodes.types import InputError, Reward, Scores

VALUES = st.floats(-100, 100)


class Constant(RewardBase):
    def __init__(self, value: float, std: float | None = None, name: str = "constant") -> None:
        self.value, self.std, self.name = value, std, name

    def score(self, episodes):
        n = len(episodes)
        return Scores(np.full(n, self.value), None if self.std is None else np.full(n, self.std))


class Plain:
    """A reward by protocol alone."""

    def score(self, episodes):
        return Scores(np.arange(len(episodes), dtype=float), parts={"inner": np.ones(len(episodes))})


@given(a=VALUES, b=VALUES, w=st.floats(-10, 10))
def test_arithmetic_of_rewards_is_arithmetic_of_their_values(a: float, b: float, w: float) -> None:
    first, second = Constant(a, name="a"), Constant(b, name="b")
    for reward, value in (
        (first + second, a + b),
        (first - second, a - b),
        (w * first, w * a),
        (-first, -a),
        (first / 2 + w * (second - first), a / 2 + w * (b - a)),
        (sum([first, second, first]), 2 * a + b),
    ):
        assert isinstance(reward, Reward)
        np.testing.assert_allclose(reward.score([episode()] * 3).value, value, rtol=1e-9, atol=1e-9)


def test_parts_keep_each_terms_own_value_and_name() -> None:
    scores = (2 * Constant(3.0, name="a") - Constant(1.0, name="b") + Plain() + Constant(5.0, name="a")).score(
        [episode()] * 2
    )
    assert set(scores.parts) == {"a", "b", "Plain", "Plain/inner", "a_2"}
    np.testing.assert_array_equal(scores.parts["a"], [3.0, 3.0])
    np.testing.assert_array_equal(scores.parts["b"], [1.0, 1.0])
    np.testing.assert_array_equal(scores.value, [10.0, 11.0])


@given(a=st.floats(0, 10), b=st.floats(0, 10))
def test_uncertainties_add_as_independent_ones(a: float, b: float) -> None:
    std = (
        mixture({"a": (Constant(0, a), 3.0), "b": (Constant(0, b), -4.0), "c": (Constant(0), 1.0)})
        .score([episode()])
        .std
    )
    np.testing.assert_allclose(std, np.hypot(3 * a, 4 * b), atol=1e-9)


def test_a_mixture_without_uncertainty_has_none() -> None:
    assert (Constant(1) + Constant(2)).score([episode()]).std is None


def test_token_scores_are_added_whatever_their_length() -> None:
    class Tokens(RewardBase):
        def __init__(self, width: int) -> None:
            self.width = width

        def score(self, episodes):
            return Scores(np.zeros(len(episodes)), token=np.ones((len(episodes), self.width)))

    np.testing.assert_array_equal((Tokens(2) + 0.5 * Tokens(3)).score([episode()]).token, [[1.5, 1.5, 0.5]])


def test_adding_something_else_is_an_error() -> None:
    with pytest.raises(TypeError):
        Constant(1) + "two"
    with pytest.raises(TypeError):
        Constant(1) * "two"
    with pytest.raises(InputError, match="at least one"):
        Mixture([])


def test_a_function_sees_conversations_and_columns() -> None:
    seen = {}

    def reward(prompts, completions, answer, completion_ids):
        seen.update(prompts=prompts, completions=completions, answer=answer, ids=completion_ids)
        return [len(c[0]["content"]) for c in completions]

    scores = FunctionReward(reward).score([episode("abc", answer=1), episode("ab")])
    assert scores.value.tolist() == [3.0, 2.0]
    assert list(scores.parts) == ["reward"]
    assert seen == {
        "prompts": [[{"role": "user", "content": "Say something."}]] * 2,
        "completions": [[{"role": "assistant", "content": "abc"}], [{"role": "assistant", "content": "ab"}]],
        "answer": [1, None],
        "ids": [[3, 4], [3, 4]],
    }


def test_kwargs_receive_every_column() -> None:
    def reward(completions, **columns):
        assert set(columns) == {"prompts", "completion_ids", "topic"}
        return [0.0 for _ in completions]

    FunctionReward(reward).score([episode(topic="cats")])


def test_none_means_no_opinion() -> None:
    short = FunctionReward(
        lambda completions: [None if len(c[0]["content"]) > 2 else 4.0 for c in completions], "short"
    )
    scores = (0.5 * short + Constant(1.0)).score([episode("long"), episode("a")])
    assert scores.value.tolist() == [1.0, 3.0]
    assert np.isnan(scores.parts["short"][0])
    assert scores.parts["short"][1] == 4.0
    assert np.isnan(short.score([episode("long")]).value).all()
    assert np.isnan((short + 2 * short).score([episode("long")]).value).all()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), "good", [1.0]])
def test_a_value_that_is_no_number_names_function_and_episode(bad: object) -> None:
    with pytest.raises(InputError, match=r"reward function picky returned .* completion 1 \(episode e2\)"):
        FunctionReward(lambda completions: [1.0, bad], "picky").score([episode(), episode(name="e2")])


def test_the_wrong_number_of_values_is_an_error() -> None:
    with pytest.raises(InputError, match="1 values for 2 completions"):
        FunctionReward(lambda completions: [1.0], "f").score([episode(), episode()])
    with pytest.raises(InputError, match="returned float"):
        FunctionReward(lambda completions: 1.0, "f").score([episode()])
