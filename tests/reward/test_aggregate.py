"""Several groups as one reward: the worst-off, a quantile, one alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from made_up_rewards import ensemble, episodes

from custodes.lm.loading import LanguageModel
from custodes.reward.aggregate import Aggregate, GroupAggregate
from custodes.reward.model import RewardModel
from custodes.reward.spread_pairs import SPREAD
from custodes.types import InputError

AXES = ("group_1", "group_2", "group_3")


@pytest.fixture
def reward(lm: LanguageModel) -> RewardModel:
    return replace(ensemble(lm, "full", members=1, axes=AXES), weights={"group_1": 0.6, "group_2": 0.3, "group_3": 0.1})


def aggregated(reward: RewardModel, text: str) -> GroupAggregate:
    made = GroupAggregate(reward, Aggregate.read(text))
    made.standardise(episodes(12))
    return made


def test_on_the_base_policys_samples_every_group_has_mean_0_and_deviation_1(reward: RewardModel) -> None:
    parts = aggregated(reward, "mean").score(episodes(12)).parts
    for axis in AXES:
        assert parts[axis].mean() == pytest.approx(0, abs=1e-9)
        assert parts[axis].std() == pytest.approx(1)


def test_the_mean_of_maxmin_is_the_least_mean_of_any_group(reward: RewardModel) -> None:
    scores = aggregated(reward, "maxmin").score(episodes(5))
    least = min(AXES, key=lambda axis: scores.parts[axis].mean())
    assert scores.value.mean() == pytest.approx(scores.parts[least].mean())
    assert scores.value == pytest.approx(scores.parts[least])  # one group scores the whole batch


def test_a_group_alone_the_mean_by_shares_and_quantiles_of_annotators(reward: RewardModel) -> None:
    batch = episodes(6)
    parts = aggregated(reward, "mean").score(batch).parts
    stacked = np.stack([parts[axis] for axis in AXES], axis=1)
    assert aggregated(reward, "group:2").score(batch).value == pytest.approx(parts["group_2"])
    assert aggregated(reward, "mean").score(batch).value == pytest.approx(stacked @ [0.6, 0.3, 0.1])
    lowest = aggregated(reward, "quantile:0.05").score(batch).value
    median = aggregated(reward, "quantile:0.55").score(batch).value
    assert lowest == pytest.approx(stacked.min(axis=1))
    for n, row in enumerate(stacked):  # at least 55 % of the annotators are worth no more
        assert (
            sum(share for value, share in zip(row, (0.6, 0.3, 0.1), strict=True) if value <= median[n] + 1e-9) >= 0.55
        )
    assert (median >= lowest).all()


def test_poisoners_have_no_say_in_who_is_worst_off(reward: RewardModel) -> None:
    decided = replace(reward, weights={"group_1": 0.7, "group_2": 0.3})  # group 3 was taken for poisoners
    for seed_batch in (episodes(3), episodes(7)):
        scores = aggregated(decided, "maxmin").score(seed_batch)
        assert scores.value.mean() == pytest.approx(min(scores.parts[a].mean() for a in AXES[:2]))
        assert aggregated(decided, "quantile:0.01").score(seed_batch).value == pytest.approx(
            np.minimum(scores.parts["group_1"], scores.parts["group_2"])
        )


def test_a_reward_with_a_spread_has_quantiles(lm: LanguageModel) -> None:
    reward = ensemble(lm, "full", members=1, axes=("overall", SPREAD))
    batch = episodes(6)
    mean, low, high = (aggregated(reward, how).score(batch).value for how in ("mean", "quantile:0.1", "quantile:0.9"))
    assert ((low < mean) & (mean < high)).all()
    assert high - mean == pytest.approx(mean - low)
    assert aggregated(reward, "quantile:0.5").score(batch).value == pytest.approx(mean)


@pytest.mark.parametrize(
    "text", ["best", "quantile", "quantile:1", "quantile:x", "group", "group:0", "group:1.5", "maxmin:2", ""]
)
def test_what_is_no_way_of_aggregating_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="mean, maxmin, quantile:Q"):
        Aggregate.read(text)


def test_rewards_without_groups_are_refused(lm: LanguageModel, reward: RewardModel) -> None:
    with pytest.raises(InputError, match="has no groups and no spread"):
        aggregated(ensemble(lm, "full", members=1), "mean")
    with pytest.raises(InputError, match="has 3 groups"):
        aggregated(reward, "group:4")
    with pytest.raises(InputError, match="has a spread and no groups"):
        aggregated(ensemble(lm, "full", members=1, axes=("overall", SPREAD)), "maxmin")
