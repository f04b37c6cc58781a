from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_optimise import BASE, run, same
from tiny_policy import EvenTokens, adapted, some_tasks

from custodes.cli.options import parse_options
from custodes.critic.jobs.tune import CriticTune
from custodes.gaming.curriculum.config import GamingTrain, plan
from custodes.lm.engine import TorchEngine
from custodes.loop.quickstart import Quickstart, _optimisation
from custodes.policy import Actions, OptimiseConfig, Outcomes, optimise
from custodes.policy.advantages import broadcast, on_last_action
from custodes.policy.learner import Reference
from custodes.registry import algorithm
from custodes.types import InputError, Scores

GROUPS = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
MASK = torch.arange(6) < torch.tensor([3, 6, 4, 5, 2, 6, 3, 3])[:, None]
KL = torch.where(MASK, torch.randn(8, 6, generator=torch.Generator().manual_seed(0)).double() / 3, 0)
LEARNING = [name for name in algorithm.names() if not algorithm.make(name).selects]


def advantages(name: str, scores: torch.Tensor, coefficient: float, values: float = 0.0) -> torch.Tensor:
    outcomes = Outcomes(
        on_last_action(scores.double(), MASK), coefficient * KL, MASK, GROUPS, torch.full(MASK.shape, values).double()
    )
    return algorithm.make(name).advantages(outcomes)


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
    config = replace(BASE, algorithm=algorithm.make("ppo", value_clip=None), normalise_scores=True)
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

GSPO = f"{Path(__file__).with_name('gspo.py')}:GSPO"


def test_an_algorithm_of_ones_own_is_one_file(tiny_model: Path) -> None:
    own = algorithm.make(GSPO, low=0.01, high=0.02)
    assert own.name == GSPO
    lm, before = adapted(tiny_model), adapted(tiny_model)
    result = run(lm, replace(BASE, algorithm=own, minibatches=2, kl_coefficient=0.0))
    assert len(result.metrics) == BASE.steps
    assert not same(lm, before)


def test_a_ratio_of_whole_replies_is_that_of_each_reply_whatever_the_micro_batches(tiny_model: Path) -> None:
    """Its gradient before the first update is that of the mean over replies of advantage times mean log-probability."""
    whole, split = adapted(tiny_model), adapted(tiny_model)
    config = replace(BASE, algorithm=GSPO, steps=1, epochs=1, kl_in="k3")
    run(whole, replace(config, micro_tokens=10_000))
    run(split, replace(config, micro_tokens=40))
    for a, b in zip(whole.trainable(), split.trainable(), strict=True):  # Adam's first step scales the smallest up
        assert float((a - b).detach().abs().mean()) < 1e-5


def test_a_run_with_an_algorithm_of_ones_own_is_taken_up_and_other_options_are_refused(
    tiny_model: Path, tmp_path: Path
) -> None:
    config = replace(BASE, algorithm=algorithm.make(GSPO, low=0.01))
    run(adapted(tiny_model), config, out=tmp_path)
    assert run(adapted(tiny_model), config, out=tmp_path).steps == BASE.steps
    with pytest.raises(InputError, match=r"another run \(algorithm.low was 0.01, now 0.02\)"):
        run(adapted(tiny_model), replace(config, algorithm=algorithm.make(GSPO, low=0.02)), out=tmp_path)


def test_per_episode_means_are_of_each_episode() -> None:
    nothing = torch.zeros(5)
    actions = Actions(*[nothing] * 5, None, None, None, torch.tensor([0, 0, 0, 1, 1]))
    x = torch.tensor([1.0, 2, 3, 10, 20], requires_grad=True)
    assert actions.per_episode(x).tolist() == [2, 2, 2, 15, 15]
    assert actions.lengths().tolist() == [3, 3, 3, 2, 2]
    actions.per_episode(x).sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, torch.ones(5))


OWN_INPUTS = """
import torch
from custodes.policy.algorithms.rloo import RLOO
from custodes.registry import algorithm

SEEN = []

@algorithm
class Weighted(RLOO):
    def inputs(self, outcomes):
        assert set(outcomes.parts) == {"even"}
        numbers = torch.arange(len(outcomes.episodes))
        by_token = numbers[:, None] * 1000 + torch.arange(outcomes.mask.shape[1])
        return {"weight": outcomes.column("weight"), "number": numbers, "place": by_token, "even": outcomes.parts["even"]}

    def loss(self, actions):
        SEEN.append(actions.inputs)
        return actions.inputs["weight"] * super().loss(actions)
"""


def test_columns_of_tasks_parts_of_rewards_and_tables_reach_the_loss_of_their_own_episode(
    tiny_model: Path, tmp_path: Path
) -> None:
    """Whole batch in one update, and split into minibatches and packs: each action sees what its own episode has."""

    class Parts(EvenTokens):
        def score(self, episodes) -> Scores:
            value = super().score(episodes).value
            return Scores(value, parts={"even": np.arange(len(value), dtype=float)})

    (tmp_path / "weighted.py").write_text(OWN_INPUTS)
    tasks = [replace(task, metadata={"weight": float(i)}) for i, task in enumerate(some_tasks())]
    own = algorithm.make(str(tmp_path / "weighted.py"))
    config = replace(BASE, algorithm=own, steps=1, epochs=1, minibatches=2, micro_tokens=60, kl_coefficient=0.0)
    lm = adapted(tiny_model)
    drawn: list = []
    optimise(
        lm, tasks, Parts(), config, engine=TorchEngine(lm), progress=False, on_step=lambda m, e, s: drawn.extend(e)
    )
    seen = sys.modules[type(own).__module__].SEEN
    assert len(seen) > 2
    met = set()
    for inputs in seen:
        for weight, number, place, even in zip(
            *(inputs[n].tolist() for n in ("weight", "number", "place", "even")), strict=True
        ):
            assert weight == drawn[int(number)].task.metadata["weight"]
            assert even == number == place // 1000
            assert drawn[int(number)].action_mask[int(place) % 1000]
            met.add((int(number), int(place)))
    assert len(met) == sum(episode.actions for episode in drawn)
    with pytest.raises(InputError, match="has None in the column 'weight'; it must be a number"):
        run(adapted(tiny_model), config, reward=Parts())


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("gpso", "there is no algorithm 'gpso'; did you mean 'grpo'"),
        (GSPO.replace("gspo.py", "none.py"), "cannot be read"),
        (GSPO[:-1], "has no 'GSP'; write .*:GSPO"),
        (GSPO.replace(":GSPO", ":Positive"), "is no Algorithm; write a class derived from"),
    ],
)
def test_what_is_wrong_with_an_algorithm_of_ones_own_is_said(given: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        OptimiseConfig(algorithm=given)


# ---------------------------------------------------------------- on the command line


def test_every_command_that_optimises_takes_one_with_its_own_options() -> None:
    own = ["--algorithm", GSPO, "--low", "0.01"]
    tuned, _ = parse_options("quickstart", Quickstart, [*own, "--high=0.02"])
    assert _optimisation(tuned, "careful").algorithm == algorithm.make(GSPO, low=0.01, high=0.02)
    played, _ = parse_options("gaming train", GamingTrain, ["--out", "x", *own])
    assert plan(played)[-1].kind == "rewarded"
    assert played.algorithm == algorithm.make(GSPO, low=0.01)
    assert parse_options("gaming train", GamingTrain, ["--out", "x", "--warm-start", "4"])[0].algorithm is None
    critic, _ = parse_options("critic tune", CriticTune, ["--data", "x", "--out", "y", *own])
    assert critic.algorithm == algorithm.make(GSPO, low=0.01)


def test_an_algorithm_may_stand_in_the_configuration_file_and_flags_override_it(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(f"algorithm: {GSPO}\nlow: 0.01\nsteps: 3\n")
    config = ["--config", str(tmp_path / "c.yaml")]
    assert parse_options("quickstart", Quickstart, config)[0].algorithm == algorithm.make(GSPO, low=0.01)
    assert parse_options("quickstart", Quickstart, [*config, "--low", "0.5"])[0].algorithm == algorithm.make(
        GSPO, low=0.5
    )
    with pytest.raises(InputError, match=r"c.yaml: no option 'low'; did you mean"):
        parse_options("quickstart", Quickstart, [*config, "--algorithm", "ppo"])
    (tmp_path / "c.yaml").write_text("algorithm: grpo\nlam: 0.5\n")
    with pytest.raises(InputError, match=r"c.yaml: no option 'lam' where algorithm is grpo; ppo has it"):
        parse_options("quickstart", Quickstart, config)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (["--algorithm", "grpo", "--lam", "0.5"], "quickstart has no option --lam with --algorithm grpo; ppo has it."),
        (
            ["--algorithm", "grpo", "--gamma=1"],
            "no option --gamma with --algorithm grpo; ppo and reinforce_pp have it.",
        ),
        (["--algorithm", GSPO, "--lo", "1"], "did you mean --low"),
        (["--algorithm", GSPO, "--low", "far"], "--low: 'far' is no number"),
        (["--algorithm", GSPO, "--low", "nan"], "option low is nan; it must be above 0"),
        (["--algorithm", "gropo"], "did you mean 'grpo'"),
        (["--algorithm-options", "low=1"], "has no option --algorithm-options"),
    ],
)
def test_an_option_of_another_algorithm_is_refused_and_its_owner_named(given: list[str], sentence: str) -> None:
    with pytest.raises(InputError, match=re.escape(sentence)):
        parse_options("quickstart", Quickstart, given)


def test_an_option_that_the_command_has_already_is_refused(tmp_path: Path) -> None:
    text = Path(__file__).with_name("gspo.py").read_text().replace("low", "steps")
    (tmp_path / "taken.py").write_text(text)
    with pytest.raises(InputError, match="has an option 'steps', as the command has; rename it"):
        parse_options("quickstart", Quickstart, ["--algorithm", str(tmp_path / "taken.py")])


def test_help_shows_the_own_options_with_their_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_options("quickstart", Quickstart, ["--algorithm", GSPO, "--help"])
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "--low" in shown
    assert "How far the ratio of a reply may fall below 1." in shown
    assert "--lam" not in shown
    assert "Steps of optimisation: sample, score, update." in shown
