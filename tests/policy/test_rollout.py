from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_policy import some_episodes

from custodes.lm.loading import load
from custodes.policy.rollout import make_minibatches, make_packs, make_rollout
from custodes.types import Episode, InputError, Scores


@pytest.fixture(scope="module")
def episodes(tiny_model: Path) -> list[Episode]:
    return some_episodes(load(tiny_model, dtype="float32"))


def rollout_of(episodes: list[Episode], **scores):
    values = scores.pop("value", np.arange(len(episodes), dtype=float))
    return make_rollout(episodes, [i // 3 for i in range(len(episodes))], Scores(values, **scores), torch.float32)


def test_every_action_is_predicted_from_the_token_before_it(episodes: list[Episode]) -> None:
    packs = make_packs(episodes, range(len(episodes)), 60, [i // 3 for i in range(len(episodes))])
    T = max(len(e.token_ids) for e in episodes)
    assert len(packs) > 1
    assert sum(len(p.targets) for p in packs) == sum(e.actions for e in episodes)
    for pack in packs:
        for at, target, place in zip(pack.predict, pack.targets, pack.place, strict=True):
            b, t = divmod(int(place), T)
            assert episodes[b].action_mask[t]
            assert target == episodes[b].token_ids[t]
            assert pack.batch.ids[at] == episodes[b].token_ids[t - 1]
            assert pack.batch.positions[at] == t - 1


def test_the_prompt_of_a_group_is_computed_once(episodes: list[Episode]) -> None:
    (pack,) = make_packs(episodes[:3], range(3), 10_000, [0, 0, 0])
    prompt = int(episodes[0].action_mask.argmax())
    assert pack.batch.tokens <= prompt + sum(e.actions for e in episodes[:3])


def test_minibatches_cover_every_episode_once_and_keep_groups_whole(episodes: list[Episode]) -> None:
    rollout = rollout_of(episodes)
    minibatches = make_minibatches(rollout, 3, 40, np.random.default_rng(0))
    parts = [sorted(torch.cat([p.episode for p in packs]).unique().tolist()) for packs in minibatches]
    assert sorted(i for part in parts for i in part) == list(range(len(episodes)))
    groups = [{int(rollout.groups[i]) for i in part} for part in parts]
    assert sum(len(g) for g in groups) == 4
    again = make_minibatches(rollout, 3, 40, np.random.default_rng(1))
    assert [p.episode.tolist() for m in again for p in m] != [p.episode.tolist() for m in minibatches for p in m]


def test_eos_stays_an_action_although_pad_is_the_same_id(episodes: list[Episode], tiny_model: Path) -> None:
    lm = load(tiny_model, dtype="float32")
    assert lm.tokenizer.pad_token_id == lm.end_ids[0]
    first = episodes[0]
    ended = replace(
        first,
        token_ids=np.append(first.token_ids, lm.end_ids[0]).astype(np.int32),
        action_mask=np.append(first.action_mask, True),
        logprobs=np.append(first.logprobs, -1.0).astype(np.float32),
    )
    longer = replace(
        ended,
        token_ids=np.append(ended.token_ids, [5, 6]),
        action_mask=np.append(ended.action_mask, [True] * 2),
        logprobs=np.append(ended.logprobs, [-1.0, -1.0]).astype(np.float32),
    )
    rollout = rollout_of([ended, longer], value=np.array([2.5, 0.0]))
    at = len(ended.token_ids) - 1
    assert rollout.mask[0, at]
    assert rollout.rewards()[0].tolist() == [2.5 if t == at else 0.0 for t in range(at + 3)]
    (pack,) = make_packs(rollout.episodes, [0], 1000, [0, 0])
    assert pack.targets[-1] == lm.end_ids[0]


def test_an_episode_without_action_stays_out_of_every_table(episodes: list[Episode]) -> None:
    silent = replace(episodes[1], action_mask=np.zeros_like(episodes[1].action_mask))
    rollout = rollout_of([episodes[0], silent, *episodes[2:]])
    assert len(rollout.episodes) == len(episodes) - 1
    assert rollout.scores.tolist()[:2] == [0.0, 2.0]
    with pytest.raises(InputError, match="nothing to learn"):
        rollout_of([silent])


def test_kl_is_per_action_and_can_be_negative(episodes: list[Episode]) -> None:
    rollout = rollout_of(episodes)
    rollout.reference = torch.where(
        rollout.mask, rollout.logprobs + 0.5, torch.nan
    )  # the reference likes every action better
    assert torch.allclose(rollout.kl()[rollout.mask], torch.tensor(-0.5))
    assert not rollout.kl()[~rollout.mask].any()


def test_token_scores_belong_to_actions(episodes: list[Episode]) -> None:
    token = np.zeros((len(episodes), max(len(e.token_ids) for e in episodes)))
    at = int(np.flatnonzero(episodes[0].action_mask)[0])
    token[0, at] = 2.0
    assert rollout_of(episodes, token=token).rewards()[0, at] >= 2.0
    token[0, 0] = 1.0
    with pytest.raises(InputError, match="score actions only"):
        rollout_of(episodes, token=token)


def test_a_score_that_is_not_finite_names_its_episode(episodes: list[Episode]) -> None:
    values = np.zeros(len(episodes))
    values[2] = np.nan
    with pytest.raises(InputError, match=episodes[2].id):
        rollout_of(episodes, value=values)


def test_what_is_kept_of_a_rollout_is_where_its_packs_look(episodes: list[Episode]) -> None:
    """Without the longest episode the tables are narrower: places in them must be counted in the new width."""
    rollout = make_rollout(episodes, list(range(len(episodes))), Scores(np.zeros(len(episodes))), torch.float32)
    lengths = torch.tensor([len(e.token_ids) for e in rollout.episodes])
    kept = rollout.subset(lengths < lengths.max())
    assert 0 < len(kept.episodes) < len(rollout.episodes)
    (packs,) = make_minibatches(kept, 1, 4096, np.random.default_rng(0))
    for pack in packs:
        assert kept.mask.view(-1)[pack.place].all()
        ids = torch.cat([torch.from_numpy(e.token_ids[e.action_mask].astype(np.int64)) for e in kept.episodes])
        assert sorted(pack.targets.tolist()) == sorted(ids.tolist())
