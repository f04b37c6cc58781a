"""Best of n, distilled: whom it draws from, what it keeps, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_optimise import BASE, run, same, without_clock
from tiny_policy import EvenTokens, adapted, some_tasks

from custodes.lm.engine import TorchEngine
from custodes.lm.loading import load
from custodes.policy import OptimiseConfig, Outcomes, optimise
from custodes.policy.advantages import on_last_action
from custodes.registry import algorithm
from custodes.types import InputError, Sampling

CONFIG = replace(BASE, algorithm="best_of_n", epochs=1)


def test_the_first_best_of_each_group_is_kept_also_where_all_are_equal() -> None:
    mask = torch.ones(7, 2, dtype=torch.bool)
    scores = torch.tensor([1.0, 3, 3, 2, 2, 2, 5]).double()
    groups = torch.tensor([0, 0, 0, 1, 1, 1, 2])
    outcomes = Outcomes(on_last_action(scores, mask), torch.zeros(7, 2), mask, groups)
    assert algorithm.make("best_of_n").select(outcomes).tolist() == [False, True, False, True, False, False, True]


@pytest.mark.parametrize("full", [False, True])
def test_every_reply_is_drawn_from_the_model_as_it_came(tiny_model: Path, full: bool) -> None:
    lm = load(tiny_model, dtype="float32") if full else adapted(tiny_model)
    engine, began = TorchEngine(lm), lm.fingerprint()
    base = began if full else load(tiny_model, dtype="float32").fingerprint()  # an adapter that learned nothing
    drawn: list[str] = []
    now: list[str] = []

    def on_step(metrics, episodes, scores) -> None:
        drawn.extend(e.policy for e in episodes)
        now.append(lm.fingerprint())

    optimise(lm, some_tasks(), EvenTokens(), CONFIG, engine=engine, on_step=on_step, progress=False)
    assert set(drawn) == {base}
    assert len({began, *now}) == CONFIG.steps + 1  # while the policy itself moved at each step


def test_one_draw_of_the_policy_comes_near_the_best_of_several_of_its_base(tiny_model: Path) -> None:
    lm, n = load(tiny_model, dtype="float32"), 8
    config = replace(CONFIG, steps=30, tasks_per_step=6, sampling=Sampling(n=n, max_tokens=8))
    tasks, reward, fresh = some_tasks(), EvenTokens(), Sampling(n=32, max_tokens=8, seed=5)
    before = reward.score(TorchEngine(lm).generate(tasks, fresh)).value
    run(lm, config)
    after = reward.score(TorchEngine(lm).generate(tasks, fresh)).value
    best = before.reshape(-1, n).max(1).mean()
    assert after.mean() > before.mean() + 0.3 * (best - before.mean())  # 0.7 to 1.0 of the way over three seeds


def test_a_kl_that_those_replies_do_not_tell_is_not_reported(tiny_model: Path) -> None:
    for metrics in run(adapted(tiny_model), CONFIG).metrics:
        assert not metrics.keys() & {"kl", "kl_token", "entropy", "sampler_gap_mean"}
        assert metrics["kept"] == pytest.approx(1 / 3)
        assert np.isfinite(metrics["policy_loss"])


def test_interrupted_it_ends_where_a_straight_run_does(tiny_model: Path, tmp_path: Path) -> None:
    config = replace(CONFIG, checkpoint_every=1, epochs=2, minibatches=2)
    straight, resumed = adapted(tiny_model), adapted(tiny_model)
    whole = run(straight, config)

    def stop(metrics, episodes, scores) -> None:
        if metrics["step"] == 2:
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        run(adapted(tiny_model), config, out=tmp_path, on_step=stop)
    again = run(resumed, config, out=tmp_path)
    assert same(straight, resumed)
    assert without_clock(again.metrics) == without_clock(whole.metrics)


@pytest.mark.parametrize(
    "option", [{"kl_budget": 1.0}, {"kl_target": 1.0}, {"kl_in": "k2"}, {"sampler_correction": 2.0}]
)
def test_options_that_need_the_policys_own_replies_are_refused(option: dict) -> None:
    with pytest.raises(InputError, match=f"option {next(iter(option))} needs replies of the policy"):
        OptimiseConfig(algorithm="best_of_n", **option)
