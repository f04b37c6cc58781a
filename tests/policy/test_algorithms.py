from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_optimise import BASE, run, same
from tiny_policy import adapted

from custodes.cli.options import parse
from custodes.critic.jobs.tune import CriticTune
from custodes.gaming.jobs.curriculum.config import GamingTrain, _check, plan
from custodes.loop.quickstart import QuickstartConfig, _optimisation
from custodes.policy import ALGORITHMS, Actions, OptimiseConfig
from custodes.policy.advantages import Outcomes, broadcast, on_last_action
from custodes.policy.learner import Reference
from custodes.types import InputError, Scores

GROUPS = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
MASK = torch.arange(6) < torch.tensor([3, 6, 4, 5, 2, 6, 3, 3])[:, None]
KL = torch.where(MASK, torch.randn(8, 6, generator=torch.Generator().manual_seed(0)).double() / 3, 0)
LEARNING = [name for name, algorithm in ALGORITHMS.items() if algorithm.select is None]


def advantages(name: str, scores: torch.Tensor, coefficient: float, values: float = 0.0) -> torch.Tensor:
    outcomes = Outcomes(
        on_last_action(scores.double(), MASK), coefficient * KL, MASK, GROUPS, torch.full(MASK.shape, values).double()
    )
    return ALGORITHMS[name].advantages(outcomes, OptimiseConfig())[0]


@pytest.mark.parametrize("name", LEARNING)
def test_equal_scores_leave_the_gradient_of_the_kl_at_its_own_scale(name: str) -> None:
    equal, right = torch.full((8,), 0.7), 0.7 if name == "ppo" else 0.0  # a value function that does not err
    little = advantages(name, equal, 0.001, right)
    assert 0 < float(little.abs().max()) < 0.7 * (name == "ppo") + 0.001 * 2 * float(KL.abs().sum(-1).max())
    if name != "ppo":
        torch.testing.assert_close(advantages(name, equal, 0.1), 100 * little)


@pytest.mark.parametrize("name", [n for n in LEARNING if n != "ppo"])
def test_scores_are_compared_first_and_the_kl_is_subtracted_as_it_is(name: str) -> None:
    scores = torch.tensor([0.0, 1, 0, 1, 3, 3, 3, 5])
    charged = advantages(name, scores, 0.0) - advantages(name, scores, 0.05)
    torch.testing.assert_close(charged, -advantages(name, torch.zeros(8), 0.05))


@pytest.mark.parametrize("name", ["grpo", "dr_grpo", "rloo"])
def test_an_episode_pays_for_its_own_kl_against_the_others_of_its_group(name: str) -> None:
    kl = KL.sum(-1)
    others = torch.stack([(kl[g == GROUPS].sum() - kl[i]) / 3 for i, g in enumerate(GROUPS)])
    torch.testing.assert_close(advantages(name, torch.ones(8), 0.2), broadcast(0.2 * (others - kl), MASK))


def test_differences_that_are_rounding_teach_nothing() -> None:
    noise = 1e9 + torch.rand(8, generator=torch.Generator().manual_seed(1)).double() * 1e-6
    for name in LEARNING:
        if name != "ppo":
            assert float(advantages(name, noise, 0.0).abs().max()) < 1e-3, name


class Constant:
    def __init__(self, score: float) -> None:
        self.score_of_all = score

    def score(self, episodes) -> Scores:
        return Scores(np.full(len(episodes), self.score_of_all))


@pytest.mark.parametrize("name", ["expert_iteration", "all_successes"])
def test_a_failure_is_never_imitated_however_near_to_the_reference(tiny_model: Path, name: str) -> None:
    config = replace(BASE, algorithm=name, kl_coefficient=5.0)
    lm, untouched = adapted(tiny_model), adapted(tiny_model)
    for model in (lm, untouched):  # away from the reference, so that some replies are nearer to it than others
        with torch.no_grad():
            for parameter in model.trainable():
                parameter.add_(0.05)
        model.refresh()
    result = run(lm, config, reward=Constant(0.0), reference=Reference.of(adapted(tiny_model)))
    assert [m["kept"] for m in result.metrics] == [0.0] * 3
    assert abs(result.metrics[0]["kl"]) > 1e-3
    assert same(lm, untouched)


def test_normalising_a_constant_reward_leaves_it_alone(tiny_model: Path) -> None:
    config = replace(BASE, algorithm="ppo", normalise_scores=True, value_clip=None)
    losses = [m["value_loss"] for m in run(adapted(tiny_model), config, reward=Constant(0.1)).metrics]
    assert max(losses) < 1


def test_the_truncation_penalty_is_in_units_of_the_reward(tiny_model: Path) -> None:
    """A reward in thousands and its penalty in thousands teach what the same in units does."""

    class Scaled:
        def __init__(self, by: float) -> None:
            self.by = by

        def score(self, episodes) -> Scores:
            return Scores(self.by * np.array([float(e.token_ids[-1] % 5) for e in episodes]))

    ones, thousands = adapted(tiny_model), adapted(tiny_model)
    config = replace(BASE, algorithm="reinforce_pp", normalise_scores=True, kl_coefficient=0.0, learning_rate=1e-3)
    run(ones, replace(config, truncation_penalty=2.0), reward=Scaled(1.0))
    run(thousands, replace(config, truncation_penalty=2048.0), reward=Scaled(1024.0))
    for a, b in zip(ones.trainable(), thousands.trainable(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


# ---------------------------------------------------------------- algorithms of one's own

GSPO = f"{Path(__file__).with_name('gspo.py')}:gspo"


def test_an_algorithm_of_ones_own_is_one_file(tiny_model: Path) -> None:
    config = replace(
        BASE, algorithm=GSPO, algorithm_options=("low=0.01", "high=0.02"), minibatches=2, kl_coefficient=0.0
    )
    assert (config.own.low, config.own.high) == (0.01, 0.02)
    lm, before = adapted(tiny_model), adapted(tiny_model)
    result = run(lm, config)
    assert len(result.metrics) == BASE.steps
    assert not same(lm, before)


def test_a_ratio_of_whole_replies_is_that_of_each_reply_whatever_the_micro_batches(tiny_model: Path) -> None:
    """Its gradient before the first update is that of the mean over replies of advantage times mean log-probability."""
    whole, split = adapted(tiny_model), adapted(tiny_model)
    config = replace(BASE, algorithm=GSPO, steps=1, epochs=1, kl_coefficient=0.0)
    run(whole, replace(config, micro_tokens=10_000))
    run(split, replace(config, micro_tokens=40))
    for a, b in zip(whole.trainable(), split.trainable(), strict=True):  # Adam's first step scales the smallest up
        assert float((a - b).abs().mean()) < 1e-5


def test_per_episode_means_are_of_each_episode() -> None:
    nothing = torch.zeros(5)
    actions = Actions(*[nothing] * 5, None, None, None, torch.tensor([0, 0, 0, 1, 1]))
    x = torch.tensor([1.0, 2, 3, 10, 20], requires_grad=True)
    assert actions.per_episode(x).tolist() == [2, 2, 2, 15, 15]
    assert actions.lengths().tolist() == [3, 3, 3, 2, 2]
    actions.per_episode(x).sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, torch.ones(5))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"algorithm": "gpso"}, "did you mean"),
        ({"algorithm": GSPO.replace("gspo.py", "none.py")}, "cannot be run"),
        ({"algorithm": GSPO[:-1]}, "has no Algorithm 'gsp'; write .*gspo"),
        ({"algorithm": GSPO, "algorithm_options": ("width=1",)}, "has no option 'width=1'; it has low=..., high=..."),
        ({"algorithm": GSPO, "algorithm_options": ("low=far",)}, "option low of algorithm .* is 'far'"),
        ({"algorithm": GSPO, "algorithm_options": ("low=nan",)}, "option low is nan; it must be above 0"),
        ({"algorithm": "grpo", "algorithm_options": ("low=1",)}, "it has none of its own"),
    ],
)
def test_what_is_wrong_with_an_algorithm_of_ones_own_is_said(given: dict, said: str) -> None:
    with pytest.raises(InputError, match=said):
        OptimiseConfig(**given)


def test_every_command_that_optimises_takes_it() -> None:
    tuned = parse("quickstart", QuickstartConfig, ["--algorithm", GSPO, "--algorithm-options", "low=0.01", "high=0.02"])
    assert _optimisation(tuned).own.high == 0.02
    played = parse("gaming train", GamingTrain, ["--out", "x", "--method", GSPO, "--method-options", "low=0.5"])
    _check(played)
    assert plan(played)[-1].kind == "rewarded"
    critic = ["--data", "x", "--out", "y", "--algorithm", GSPO]
    assert parse("critic tune", CriticTune, critic).algorithm == GSPO
    with pytest.raises(InputError, match="did you mean 'grpo'"):
        _check(parse("gaming train", GamingTrain, ["--out", "x", "--method", "gropo"]))
