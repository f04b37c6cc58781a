"""Parts of a reward by name, and weights of parts."""

from __future__ import annotations

import numpy as np
import pytest

from custodes.reward import FunctionReward, mixture
from custodes.reward.base import RewardBase
from custodes.reward.parts import PartWeights, part_named
from custodes.types import Episode, InputError, Message, Scores, Task


class Axes(RewardBase):
    name = "people"

    def score(self, episodes) -> Scores:
        n = np.arange(len(episodes), dtype=float)
        parts = {"truthful": n, "harmless": np.where(n == 1, np.nan, -n)}
        return Scores(n * 100, std=np.ones(len(n)), parts=parts)


EPISODES = [
    Episode.written(f"e{i}", Task("t", (Message("user", "?"),)), (Message("assistant", "x"),), "p") for i in range(3)
]


def test_a_part_is_found_by_its_own_name_and_by_the_end_of_it() -> None:
    alone = Axes().score(EPISODES)
    mixed = mixture({"people": (Axes(), 1.0), "short": (FunctionReward(lambda completions: [1.0] * 3), 1.0)}).score(
        EPISODES
    )
    for scores in (alone, mixed):
        assert part_named(scores, "truthful", "x").tolist() == [0, 1, 2]
    assert part_named(mixed, "people/truthful", "x").tolist() == [0, 1, 2]
    assert part_named(mixed, "people", "x").tolist() == [0, 100, 200]
    with pytest.raises(
        InputError, match=r"x: the reward has no part 'truthfull'; did you mean 'truthful'\? It has truthful, harmless"
    ):
        part_named(alone, "truthfull", "x")
    twice = mixture({"a": (Axes(), 1.0), "b": (Axes(), 1.0)}).score(EPISODES)
    with pytest.raises(InputError, match="'truthful' may be a/truthful or b/truthful; write the whole name"):
        part_named(twice, "truthful", "x")
    with pytest.raises(InputError, match="has no parts"):
        part_named(Scores(np.zeros(3)), "truthful", "x")


def test_the_value_is_the_weighted_sum_of_the_parts_and_unknown_where_one_is() -> None:
    scores = PartWeights(Axes(), {"truthful": 1.0, "harmless": 0.5}).score(EPISODES)
    assert scores.value[[0, 2]].tolist() == [0.0, 1.0]
    assert np.isnan(scores.value[1])  # a 0 for the unknown part would make it 1
    assert scores.std is None
    assert PartWeights(Axes(), {"truthful": 2.0}).score(EPISODES).value.tolist() == [0, 2, 4]
