"""Reading scores from a model, and combining the members of an ensemble."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from made_up_rewards import ensemble, episodes
from torch import nn

from custodes.lm.loading import LanguageModel
from custodes.lm.packing import pack
from custodes.reward.model import RewardModel, _combine_members
from custodes.types import InputError, Reward

MEMBERS = hnp.arrays(np.float64, st.tuples(st.integers(1, 6), st.integers(2, 5)), elements=st.floats(-10, 10))


@pytest.mark.parametrize("kind", ["full", "heads", "adapters"])
def test_scores_do_not_depend_on_what_else_is_in_the_batch(lm: LanguageModel, kind: str) -> None:
    model, some = ensemble(lm, kind), episodes(7)
    together = model.score(some)
    alone = [model.score([e]) for e in some]
    np.testing.assert_allclose(together.value, [s.value[0] for s in alone], rtol=1e-4, atol=2e-4)
    np.testing.assert_allclose(together.std, [s.std[0] for s in alone], rtol=1e-4, atol=2e-4)
    assert isinstance(model, Reward)


def test_sharing_the_trunk_gives_what_each_member_gives_alone(lm: LanguageModel) -> None:
    model, some = ensemble(lm, "adapters"), episodes(4)
    scores = model.score(some)
    for k in range(3):
        alone = RewardModel(
            lm,
            nn.Parameter(model.heads[k : k + 1].detach()),
            [model.adapters[k]],
            model.center[k : k + 1],
            model.scale[k : k + 1],
        )
        np.testing.assert_allclose(scores.parts[f"member_{k}"], alone.score(some).value, rtol=1e-4, atol=2e-4)
        assert alone.score(some).std is None


def test_the_score_is_read_at_the_last_token(lm: LanguageModel) -> None:
    """Not at a place found by token id: what ends a conversation may stand elsewhere too."""
    model = ensemble(lm, "full", members=1)
    (sequence,) = [model.reader.conversation(episodes(1)[0].messages, "here")]
    twice = np.concatenate([sequence, sequence[-1:]])
    with torch.no_grad():
        expected = lm.decoder.hidden(pack([twice]))[-1] @ model.heads[0]
    np.testing.assert_allclose(model.raw_scores([sequence, twice])[1, 0], expected, atol=1e-5)


def test_a_model_whose_adapters_do_not_fit_its_heads_is_refused(lm: LanguageModel) -> None:
    model = ensemble(lm, "adapters")
    with pytest.raises(InputError, match="3 heads cannot have 2 adapters"):
        RewardModel(lm, model.heads, model.adapters[:2])


@given(MEMBERS, st.floats(-5, 5), st.floats(0, 3))
def test_combinations_move_with_a_shift_of_all_members(members: np.ndarray, shift: float, caution: float) -> None:
    for how in ("mean", "worst", "cautious"):
        value, std = _combine_members(members, how, caution)
        moved, same = _combine_members(members + shift, how, caution)
        np.testing.assert_allclose(moved, value + shift, atol=1e-6)
        np.testing.assert_allclose(same, std, atol=1e-6)


@given(MEMBERS, st.floats(0, 3))
def test_caution_and_the_worst_case_never_exceed_the_mean(members: np.ndarray, caution: float) -> None:
    mean, _ = _combine_members(members, "mean", caution)
    for how in ("worst", "cautious"):
        assert (_combine_members(members, how, caution)[0] <= mean + 1e-9).all()
    agreed = np.repeat(members[:, :1], members.shape[1], axis=1)
    for how in ("mean", "worst", "cautious"):
        value, none = _combine_members(agreed, how, caution)
        np.testing.assert_allclose(value, members[:, 0], atol=1e-6)
        np.testing.assert_allclose(none, 0, atol=1e-6)


AXES = ("helpful", "honest")


@pytest.mark.parametrize("kind", ["full", "heads", "adapters"])
def test_several_axes_are_what_each_is_alone(lm: LanguageModel, kind: str) -> None:
    model, some = ensemble(lm, kind, axes=AXES), episodes(5)
    scores = model.score(some)
    for o, axis in enumerate(AXES):
        rows = slice(o, None, len(AXES))
        heads = nn.Parameter(model.heads.detach()[rows].clone())
        alone = RewardModel(lm, heads, model.adapters, model.center[rows], model.scale[rows], axes=(axis,))
        np.testing.assert_allclose(scores.parts[axis], alone.score(some).value, rtol=1e-4, atol=2e-4)
    np.testing.assert_allclose(scores.value, (scores.parts["helpful"] + scores.parts["honest"]) / 2, atol=1e-9)


def test_the_axes_of_a_reward_are_computed_in_one_pass(lm: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    passes = []
    run = type(lm.decoder).run
    monkeypatch.setattr(type(lm.decoder), "run", lambda self, *a, **k: passes.append(1) or run(self, *a, **k))
    ensemble(lm, "full", members=1).score(episodes(5))
    one = len(passes)
    ensemble(lm, "full", members=1, axes=("overall", *AXES)).score(episodes(5))
    assert len(passes) == 2 * one


def test_the_value_is_overall_or_as_weighted(lm: LanguageModel) -> None:
    model, some = ensemble(lm, "full", members=1, axes=("overall", *AXES)), episodes(5)
    scores = model.score(some)
    np.testing.assert_allclose(scores.value, scores.parts["overall"])
    weighted = model.weighted({"honest": 2.0, "helpful": -0.5}).score(some)
    np.testing.assert_allclose(weighted.value, 2 * scores.parts["honest"] - 0.5 * scores.parts["helpful"])
    with pytest.raises(InputError, match="no axis 'kind'; it has overall, helpful, honest"):
        model.weighted({"kind": 1.0})


def test_axes_that_do_not_fit_the_heads_are_refused(lm: LanguageModel) -> None:
    model = ensemble(lm, "full")
    with pytest.raises(InputError, match="3 heads cannot have the axes helpful, honest"):
        RewardModel(lm, model.heads, axes=AXES)
