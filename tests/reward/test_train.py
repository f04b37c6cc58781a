"""Training reward models."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from made_up_rewards import KINDS, SMALL, make_pairs, small

from custodes.lm.loading import LanguageModel, load
from custodes.reward.evaluate import evaluate_reward, score_pairs
from custodes.reward.model import RewardModel
from custodes.reward.objective import Course
from custodes.reward.objectives.pairs import Pairs
from custodes.reward.train import _new_model, _Training, teach_reward, train_reward
from custodes.train import TrainStep
from custodes.types import InputError, PreferencePair


def everything_learned(model: RewardModel) -> list[torch.Tensor]:
    decoder = model.lm.decoder.state() if not model.adapters else {}
    return [model.heads.detach(), *decoder.values(), *(t for a in model.adapters for t in a.tensors().values())]


def same(a: RewardModel, b: RewardModel) -> bool:
    return all(torch.equal(x, y) for x, y in zip(everything_learned(a), everything_learned(b), strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_training_learns_what_makes_an_answer_better(tiny_model: Path, kind: str) -> None:
    model = train_reward(load(tiny_model, dtype="float32"), make_pairs(60), small(kind, epochs=4))
    assert evaluate_reward(model, make_pairs(40, seed=1)).accuracy.low > 0.8


@pytest.mark.parametrize("kind", KINDS)
def test_scores_have_mean_0_and_deviation_1_on_the_training_data(
    tiny_model: Path, pairs: list[PreferencePair], kind: str
) -> None:
    model = train_reward(load(tiny_model, dtype="float32"), pairs, small(kind))
    sequences = [s for p in model.reader.pairs(pairs)[0] for s in (p.chosen, p.rejected)]
    scores = model.member_scores(sequences)
    np.testing.assert_allclose(scores.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(scores.std(axis=0), 1, atol=1e-4)


@pytest.mark.parametrize("kind", ["adapters", "full heads"])
def test_same_seed_same_weights_and_another_seed_others(
    tiny_model: Path, pairs: list[PreferencePair], kind: str
) -> None:
    runs = [train_reward(load(tiny_model, dtype="float32"), pairs, small(kind, seed=s)) for s in (0, 0, 1)]
    assert same(runs[0], runs[1])
    assert not same(runs[0], runs[2])


@pytest.mark.parametrize("kind", KINDS)
def test_micro_batches_do_not_change_the_gradient(tiny_model: Path, pairs: list[PreferencePair], kind: str) -> None:
    """One update by AdamW follows the sign of the gradient, so compare in float64 what two budgets learn."""
    steps: dict[int, list[TrainStep]] = {1: [], 10_000: []}
    for budget, log in steps.items():
        config = small(kind, epochs=1, micro_tokens=budget, batch_pairs=8, max_grad_norm=1e9)
        train_reward(load(tiny_model, dtype="float64"), pairs, config, on_step=log.append)
    for a, b in zip(*steps.values(), strict=True):
        for name in ("loss", "grad_norm"):
            np.testing.assert_allclose(a.metrics[name], b.metrics[name], rtol=1e-4)


def training_of(lm: LanguageModel, pairs: list[PreferencePair], kind: str, prompts: Sequence[object]) -> _Training:
    config = small(kind)
    model = _new_model(lm, config)
    lessons = Pairs().of_pairs(pairs, model.reader.pairs(pairs)[0], None)
    own = [replace(lesson, prompt=prompt) for lesson, prompt in zip(lessons, prompts, strict=True)]
    return _Training(model, [Course(Pairs(), own)], config)


def learn(objective: _Training, batch: Sequence[int]) -> None:
    """Gradients of the loss on the pairs of these prompts."""
    for micro in objective.micro_batches(list(batch)):
        objective.loss(micro).backward()


def compared_with_each_other(prompts: int, replies: int = 4) -> list[PreferencePair]:
    """Every two of several replies to one prompt, as rankings and judges of samples give them."""
    made = make_pairs(prompts * replies)
    return [
        PreferencePair(made[p].prompt, made[p + i].chosen, made[p + j].chosen, label=0.8, line=i + 1)
        for p in range(0, len(made), replies)
        for i in range(replies)
        for j in range(i)
    ]


def test_replies_in_several_pairs_are_computed_once_and_the_gradient_is_that_of_the_pairs(tiny_model: Path) -> None:
    pairs = compared_with_each_other(1)
    grads, tokens = [], []
    for prompts in (
        [pair.prompt for pair in pairs],
        range(len(pairs)),
    ):  # the second time each pair a prompt of its own
        objective = training_of(load(tiny_model, dtype="float64"), pairs, "adapter", prompts)
        learn(objective, range(len(objective.prompts.lessons)))
        tokens.append(objective.metrics()["tokens"])
        grads.append([p.grad.clone() for p in [objective.model.heads, *objective.backbone]])
    for mine, theirs in zip(*grads, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-8)
    assert tokens[0] < tokens[1] / 2


def test_all_pairs_of_a_prompt_stand_in_one_update_and_every_pair_in_every_epoch(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = compared_with_each_other(7)
    steps: list[list[int]] = []
    rows = _Training.rows

    class Spied(_Training):
        def micro_batches(self, batch):
            parts = super().micro_batches(batch)
            steps.append(sorted(i for part in parts for i in rows(self, part)))
            return parts

    monkeypatch.setattr("custodes.reward.train._Training", Spied)
    train_reward(load(tiny_model, dtype="float32"), pairs, small("adapter", epochs=3))
    prompts = [[pairs.index(p) for p in pairs if p.prompt == prompt] for prompt in {p.prompt for p in pairs}]
    for step in steps:
        assert all(set(own) <= set(step) or not set(own) & set(step) for own in prompts)
    assert sorted(i for step in steps for i in step) == sorted(list(range(len(pairs))) * 3)
    assert steps[: len(steps) // 3] != steps[len(steps) // 3 : 2 * len(steps) // 3]


@pytest.mark.parametrize("kind", ["adapters", "heads"])
def test_keeping_the_trunk_between_epochs_changes_nothing(tiny_model: Path, kind: str) -> None:
    pairs = compared_with_each_other(6)
    kept, again = (
        train_reward(load(tiny_model, dtype="float64"), pairs, small(kind, first_layer=1, trunk_gb=gb))
        for gb in (1.0, 0.0)
    )
    for mine, theirs in zip(everything_learned(kept), everything_learned(again), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6)


def test_members_learn_apart(tiny_model: Path, pairs: list[PreferencePair]) -> None:
    """A member is what it would be in a smaller ensemble: clipping, weights and seeds are its own."""
    two, three = (
        train_reward(load(tiny_model, dtype="float64"), pairs, small("adapters", members=k, max_grad_norm=0.1))
        for k in (2, 3)
    )
    for k in range(2):
        mine, theirs = two.adapters[k].tensors(), three.adapters[k].tensors()
        assert all(torch.allclose(mine[name], theirs[name], atol=1e-6) for name in mine)
    assert not torch.equal(two.heads[0], two.heads[1])


def test_without_resamples_members_differ_by_initialisation_only(tiny_model: Path, pairs: list[PreferencePair]) -> None:
    with_, without = (
        train_reward(load(tiny_model, dtype="float32"), pairs, small("adapters", bootstrap=b)) for b in (True, False)
    )
    assert not same(with_, without)


def test_pairs_of_weight_0_are_not_learned_from(tiny_model: Path, pairs: list[PreferencePair]) -> None:
    """Poisoned pairs with weight 0 leave training as it would be with their labels the other way round."""
    poisoned = [replace(p, weight=0.0) if i % 3 == 0 else p for i, p in enumerate(pairs)]
    inverted = [replace(p, label=0.0) if i % 3 == 0 else p for i, p in enumerate(poisoned)]
    plain = Pairs(center_coefficient=0.0)
    runs = [
        train_reward(load(tiny_model, dtype="float32"), some, small("adapter"), objective=plain)
        for some in (poisoned, inverted)
    ]
    assert same(*runs)


def test_the_scale_of_weights_does_not_matter(tiny_model: Path, pairs: list[PreferencePair]) -> None:
    halves = [replace(p, weight=0.5) for p in pairs]
    assert same(*(train_reward(load(tiny_model, dtype="float32"), some, small("adapter")) for some in (pairs, halves)))


def test_labels_turned_round_turn_the_scores_round(tiny_model: Path) -> None:
    turned = [replace(p, label=0.0) for p in make_pairs(60)]
    model = train_reward(load(tiny_model, dtype="float32"), turned, small("adapter", epochs=4))
    assert evaluate_reward(model, make_pairs(40, seed=1)).accuracy.high < 0.2


def test_full_training_leaves_the_unused_head_alone_and_moves_used_embeddings(
    tiny_model: Path, pairs: list[PreferencePair]
) -> None:
    lm = load(tiny_model, dtype="float32")
    before = lm.decoder.embedding.value.clone()
    model = train_reward(lm, pairs, small("full"))
    moved = (model.lm.decoder.embedding.value != before).any(1)
    used = np.zeros(len(before), bool)
    for pair in model.reader.pairs(pairs)[0]:
        used[pair.chosen] = used[pair.rejected] = True
    np.testing.assert_array_equal(moved.numpy(), used)


def test_the_embedding_gradient_is_the_one_autograd_gives(tiny_model: Path, pairs: list[PreferencePair]) -> None:
    objective = training_of(load(tiny_model, dtype="float64"), pairs, "full", [pair.prompt for pair in pairs])
    embedding = objective.model.lm.decoder.embedding
    learn(objective, range(5))
    embedding.master.grad = None
    learn(objective, range(5, 10))  # rows of the first update must have been cleared
    mine = embedding.master.grad.clone()
    for parameter in objective.backbone:
        parameter.grad = None
    objective.embedding = None  # now the dense way
    learn(objective, range(5, 10))
    torch.testing.assert_close(mine, embedding.master.grad, rtol=1e-4, atol=1e-7)


SCRIPT = """
import os, signal, sys, torch
from pathlib import Path
torch.set_num_threads(1)
sys.path[:0] = [{here!r}]
from made_up_rewards import make_pairs, small
from custodes.lm.loading import LanguageModel, load
from custodes.reward.train import train_reward
def killed(done):
    if done.step == {at}:
        os.kill(os.getpid(), signal.SIGKILL)
train_reward(load({model!r}, dtype="float32"), make_pairs(24), small({kind!r}, checkpoint_every=2), checkpoints=Path({folder!r}), on_step=killed)
"""


@pytest.mark.parametrize(("kind", "at"), [("adapters", 5), ("full", 8)])
def test_a_killed_run_continues_bit_for_bit(tiny_model: Path, tmp_path: Path, pairs, kind: str, at: int) -> None:
    script = SCRIPT.format(
        here=str(Path(__file__).parent), at=at, model=str(tiny_model), kind=kind, folder=str(tmp_path)
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    steps: list[TrainStep] = []
    config = small(kind, checkpoint_every=2)
    again = train_reward(load(tiny_model, dtype="float32"), pairs, config, checkpoints=tmp_path, on_step=steps.append)
    assert steps[0].step > 1
    straight = train_reward(load(tiny_model, dtype="float32"), pairs, config)
    assert same(again, straight)
    np.testing.assert_array_equal(again.center, straight.center)


def test_a_damaged_checkpoint_is_passed_over_and_that_is_said(tiny_model: Path, tmp_path: Path, pairs) -> None:
    config = small("adapter", checkpoint_every=3)
    straight = train_reward(load(tiny_model, dtype="float32"), pairs, config, checkpoints=tmp_path)
    newest = max(tmp_path.glob("step-*"))
    with (newest / "state.pt").open("r+b") as file:
        file.seek(500)
        file.write(b"damage")
    with pytest.warns(UserWarning, match="is damaged .* the one before it is used"):
        again = train_reward(load(tiny_model, dtype="float32"), pairs, config, checkpoints=tmp_path)
    assert same(straight, again)


def test_checkpoints_of_another_run_are_refused(tiny_model: Path, tmp_path: Path, pairs) -> None:
    train_reward(load(tiny_model, dtype="float32"), pairs, small("adapter", checkpoint_every=3), checkpoints=tmp_path)
    config = small("adapter", checkpoint_every=3, learning_rate=1e-4)
    with pytest.raises(InputError, match=r"another run \(learning_rate was 0.005, now 0.0001\)"):
        train_reward(load(tiny_model, dtype="float32"), pairs, config, checkpoints=tmp_path)
    with pytest.raises(InputError, match=r"another run \(other judgments\)"):
        train_reward(
            load(tiny_model, dtype="float32"), pairs[1:], small("adapter", checkpoint_every=3), checkpoints=tmp_path
        )


def test_a_loss_that_is_not_finite_stops_with_step_rows_and_last_checkpoint(
    tiny_model: Path, tmp_path: Path, pairs
) -> None:
    lm = load(tiny_model, dtype="float32")
    config = small("adapter", checkpoint_every=2)

    def poison(done: TrainStep) -> None:
        if done.step == 4:
            lm.decoder.norm.value.fill_(torch.nan)

    said = r"stopped at step 5: the loss is nan, from judgments pairs.jsonl row \d+.* last good checkpoint is .*step-000004; "
    with pytest.raises(InputError, match=said + r"lower the learning rate \(0.005\) or look at these judgments"):
        train_reward(lm, pairs, config, source="pairs.jsonl", checkpoints=tmp_path, on_step=poison)


def test_long_pairs_are_counted(tiny_model: Path, pairs: list[PreferencePair]) -> None:
    with pytest.warns(UserWarning, match=r"pairs.jsonl: \d+ of 24 pairs are longer than 50 tokens"):
        train_reward(load(tiny_model, dtype="float32"), pairs, small("adapter", max_length=50), source="pairs.jsonl")


@pytest.mark.parametrize("bad", [{"members": 0}, {"learning_rate": 0.0}, {"warmup": 1.5}, {"full": True, "members": 2}])
def test_options_out_of_range_are_refused(bad: dict) -> None:
    with pytest.raises(InputError, match="option"):
        replace(SMALL, **bad)


def test_no_pairs_and_no_weight_are_refused(tiny_model: Path, pairs: list[PreferencePair]) -> None:
    lm = load(tiny_model, dtype="float32")
    with pytest.raises(InputError, match="no pair"):
        train_reward(lm, [], SMALL)
    with pytest.raises(InputError, match="not all 0"):
        train_reward(lm, [replace(p, weight=0.0) for p in pairs], SMALL)


AXES = ("overall", "thanks", "never")


def both_ways(pairs: list[PreferencePair]) -> tuple[list[PreferencePair], np.ndarray]:
    """Each pair on the axis "thanks" as it is, and on the axis "never" turned round; overall is not judged."""
    turned = [replace(pair, chosen=pair.rejected, rejected=pair.chosen) for pair in pairs]
    weights = np.repeat([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], len(pairs), axis=0)
    return [*pairs, *turned], weights


@pytest.mark.parametrize("kind", KINDS)
def test_axes_learn_what_each_is_taught_on_one_backbone(tiny_model: Path, kind: str) -> None:
    some, weights = both_ways(make_pairs(60))
    lm = load(tiny_model, dtype="float32")
    model = train_reward(lm, some, small(kind, epochs=4), axes=AXES, weights=weights)
    assert (model.axes, len(model.heads)) == (AXES, 3 * model.members)
    held_out = make_pairs(40, seed=1)
    right = [float((score_pairs(model, held_out, axis=axis).difference > 0).mean()) for axis in AXES[1:]]
    assert right[0] > 0.8
    assert right[1] < 0.2


def test_an_axis_is_what_it_would_be_alone_when_members_share_nothing(tiny_model: Path, pairs) -> None:
    """The gradient of each axis' head is its own; only what is shared below is pulled by all."""
    config = small("heads", members=1)
    alone = _new_model(load(tiny_model, dtype="float64"), config)
    lessons = Pairs().of_pairs(pairs, alone.reader.pairs(pairs)[0], None)
    single = _Training(alone, [Course(Pairs(), lessons)], config)
    learn(single, range(5))
    both = _new_model(load(tiny_model, dtype="float64"), config, ("overall", "other"))
    both.heads.data[:] = alone.heads.data
    wide = [replace(lesson, weight=np.array([1.0, 0.0])) for lesson in lessons]
    several = _Training(both, [Course(Pairs(), wide)], config)
    learn(several, range(5))
    torch.testing.assert_close(several.model.heads.grad[0], single.model.heads.grad[0])
    assert not several.model.heads.grad[1].any()


def test_weights_that_do_not_fit_the_axes_are_refused(tiny_model: Path, pairs: list[PreferencePair]) -> None:
    lm = load(tiny_model, dtype="float32")
    with pytest.raises(InputError, match="for 2 outputs do not fit a reward of 3"):
        train_reward(lm, pairs, SMALL, axes=AXES, weights=np.ones((len(pairs), 2)))
    with pytest.raises(InputError, match="weights of preference pairs"):
        train_reward(lm, pairs, SMALL, axes=AXES, weights=np.ones((3, 3)))


def test_two_courses_are_learned_at_once(tiny_model: Path) -> None:
    """The same lessons in two courses are learned as in one."""
    pairs = make_pairs(16)
    lm = load(tiny_model, dtype="float64")
    config = small("adapter", epochs=1)
    lessons = Pairs().of_pairs(pairs, _new_model(lm, config).reader.pairs(pairs)[0], None)
    one = teach_reward(lm, [Course(Pairs(), lessons)], config, progress=False)
    halves = [Course(Pairs(), lessons[:8]), Course(Pairs(), lessons[8:])]
    two = teach_reward(load(tiny_model, dtype="float64"), halves, config, progress=False)
    for mine, theirs in zip(everything_learned(one), everything_learned(two), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6)
