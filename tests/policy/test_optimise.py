from __future__ import annotations

import json
import os
import signal
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_policy import EvenTokens, adapted, some_tasks

from custodes.lm.engine import TorchEngine
from custodes.lm.loading import LanguageModel, load
from custodes.policy import Diverged, OptimiseConfig, OptimiseResult, optimise
from custodes.policy.algorithms.rloo import RLOO
from custodes.policy.config import tasks_of_step
from custodes.policy.running import RunningStatistics
from custodes.registry import algorithm
from custodes.types import Episode, InputError, Sampling, Scores

ENDS = tuple(range(0, 300, 12))  # so many ids end a reply that lengths differ
BASE = OptimiseConfig(
    steps=3, tasks_per_step=4, sampling=Sampling(n=3, max_tokens=8, stop_ids=ENDS), learning_rate=1e-2, epochs=2
)


def run(lm: LanguageModel, config: OptimiseConfig, **more) -> OptimiseResult:
    reward = more.pop("reward", EvenTokens())
    return optimise(lm, some_tasks(), reward, config, engine=TorchEngine(lm, policy="tiny"), progress=False, **more)


def weights(lm: LanguageModel) -> list[torch.Tensor]:
    return [p.detach() for p in lm.trainable()]


def same(a: LanguageModel, b: LanguageModel) -> bool:
    return all(torch.equal(x, y) for x, y in zip(weights(a), weights(b), strict=True))


def without_clock(metrics: Sequence[dict[str, float]]) -> list[dict[str, float]]:
    return [{k: v for k, v in m.items() if "second" not in k} for m in metrics]


@pytest.mark.parametrize("name", ["ppo", "grpo", "dr_grpo", "rloo", "reinforce_pp", "expert_iteration"])
def test_every_algorithm_raises_the_reward(tiny_model: Path, name: str) -> None:
    lm = adapted(tiny_model)
    rate = (
        1e-2 if name == "expert_iteration" else 3e-2
    )  # what imitates its best needs smaller steps to keep its variety
    config = replace(
        BASE, algorithm=name, steps=24, sampling=Sampling(n=8, max_tokens=8), kl_coefficient=0.001, learning_rate=rate
    )
    scores = [m["proxy"] for m in run(lm, config).metrics]
    assert np.mean(scores[-3:]) > np.mean(scores[:3]) + 0.05


def test_full_weights_learn_too(tiny_model: Path) -> None:
    lm = load(tiny_model, dtype="float32")
    config = replace(
        BASE, algorithm="grpo", steps=12, sampling=Sampling(n=8, max_tokens=8), kl_in="k3", learning_rate=1e-2
    )
    scores = [m["proxy"] for m in run(lm, config).metrics]
    assert np.mean(scores[-3:]) > np.mean(scores[:3]) + 0.05


BOUND = {"constrain": ("odd<=0.01",)}
OTHER = {
    "algorithm": "rloo",
    "steps": 4,
    "tasks_per_step": 5,
    "sampling": Sampling(n=3, max_tokens=8, stop_ids=ENDS, seed=1),
    "learning_rate": 2e-2,
    "warmup_steps": 2,
    "decay": "linear",
    "weight_decay": 0.5,
    "max_grad_norm": 1e-12,  # Adam is blind to the gradient's scale until it is as small as its epsilon
    "epochs": 3,
    "minibatches": 2,
    "advantage_clip": 0.1,
    "entropy_coefficient": 0.5,
    "kl_coefficient": 0.5,
    "kl_in": "k2",
    "kl_target": 0.01,
    "kl_budget": 0.05,
    "truncation_penalty": 3.0,
    "normalise_scores": True,
    "constrain": BOUND["constrain"],
    "sampler_correction": 1.0,
}
OF_PPO = {
    "clip": 0.001,
    "clip_high": 0.001,
    "gamma": 0.5,
    "lam": 0.1,
    "value_coefficient": 5.0,
    "value_clip": 0.001,
    "value_learning_rate": 0.1,
}
WITHOUT_EFFECT_ON_THE_RESULT = {"micro_tokens", "checkpoint_every"}
ONLY_IN_ITS_OWN_TEST = {"skip_equal_scores"}
ONLY_TOGETHER = {
    "kl_horizon": {"kl_target": 0.01, "kl_horizon": 5},
    "multiplier_start": BOUND | {"multiplier_start": 0.5},
    "multiplier_rate": BOUND | {"multiplier_rate": 0.9},
    "multiplier_max": BOUND | {"multiplier_max": 1.001},
    "constraint_window": BOUND | {"constraint_window": 2},
}
TOGETHER_WITH = {"kl_horizon": {"kl_target": 0.01}, **dict.fromkeys(list(ONLY_TOGETHER)[1:], BOUND)}
"""What such an option has beside it where it is left at its default."""


class Parted(EvenTokens):
    """The same, with a part that is the share of replies that end on an odd token."""

    def score(self, episodes: Sequence[Episode]) -> Scores:
        odd = np.array([float(e.token_ids[-1] % 2) for e in episodes])
        return replace(super().score(episodes), parts={"odd": odd})


@pytest.mark.parametrize(
    "name",
    [n for n in OptimiseConfig.__dataclass_fields__ if n not in WITHOUT_EFFECT_ON_THE_RESULT | ONLY_IN_ITS_OWN_TEST],
)
def test_every_option_acts(tiny_model: Path, name: str) -> None:
    base = replace(BASE, **TOGETHER_WITH.get(name, {}))
    plain, other = adapted(tiny_model), adapted(tiny_model)
    run(plain, base, reward=Parted())
    run(other, replace(base, **ONLY_TOGETHER.get(name, {name: OTHER.get(name)})), reward=Parted())
    assert not same(plain, other)


def test_every_option_of_ppo_acts(tiny_model: Path) -> None:
    assert OF_PPO.keys() == {f.name for f in fields(algorithm.find("ppo")) if f.init}
    plain = adapted(tiny_model)
    run(plain, BASE)
    for name, value in OF_PPO.items():
        other = adapted(tiny_model)
        run(other, replace(BASE, algorithm=algorithm.make("ppo", **{name: value})))
        assert not same(plain, other), name


def test_micro_batches_do_not_change_what_is_learned(tiny_model: Path) -> None:
    whole, parts = adapted(tiny_model), adapted(tiny_model)
    one = run(whole, replace(BASE, steps=1, micro_tokens=10_000)).metrics[0]
    many = run(parts, replace(BASE, steps=1, micro_tokens=40)).metrics[0]
    for name in ("kl", "entropy", "policy_loss", "value_loss", "grad_norm", "value_error", "update_kl"):
        assert one[name] == pytest.approx(many[name], abs=1e-4), name


@pytest.mark.parametrize("name", algorithm.names())
def test_the_first_update_of_a_step_has_ratio_exactly_one(tiny_model: Path, name: str) -> None:
    lm = adapted(tiny_model)
    ratios: list[torch.Tensor] = []

    class Spied(algorithm.find(name)):
        def loss(self, actions):
            ratios.append((actions.logprobs.detach() - actions.old).exp())
            return super().loss(actions)

    run(lm, replace(BASE, algorithm=Spied(), steps=1, epochs=1, micro_tokens=10_000))
    assert len(ratios) == 1
    if not Spied().selects:  # expert iteration forms no ratio
        assert torch.equal(ratios[0], torch.ones_like(ratios[0]))
    ratios.clear()
    run(adapted(tiny_model), replace(BASE, algorithm=Spied(), steps=2, epochs=2, minibatches=2, micro_tokens=60))
    if not Spied().selects:
        assert torch.equal(ratios[0], torch.ones_like(ratios[0]))
    assert any((r != 1).any() for r in ratios)


def test_skipping_the_extra_pass_changes_nothing(tiny_model: Path) -> None:
    """A budget that is never reached forces the pass that a single update does not need."""
    short, long = adapted(tiny_model), adapted(tiny_model)
    config = replace(BASE, algorithm="grpo", kl_in="k3", epochs=1)
    a, b = run(short, config), run(long, replace(config, kl_budget=1e9))
    assert without_clock(a.metrics) == without_clock(b.metrics)
    assert same(short, long)


def test_an_algorithm_is_added_without_touching_the_loop_and_a_nan_stops_the_run(
    tiny_model: Path, tmp_path: Path
) -> None:
    calls = 0

    class Breaks(RLOO):
        def loss(self, actions):
            nonlocal calls
            calls += 1
            return actions.logprobs * (float("nan") if calls > 2 else 1.0)

    lm = adapted(tiny_model)
    seen: list[Episode] = []
    config = replace(BASE, algorithm=Breaks(), epochs=1, checkpoint_every=1, micro_tokens=10_000)
    with pytest.raises(Diverged) as caught:
        run(lm, config, out=tmp_path, on_step=lambda metrics, episodes, scores: seen.extend(episodes))
    message = str(caught.value)
    assert "step 3" in message
    assert "step-000002" in message
    assert len(caught.value.rows) == 12
    ids = message.split("episodes ")[1].split(" and more")[0].split(", ")
    assert len(ids) == 8
    assert not set(ids) & {e.id for e in seen}  # those of the step that failed
    assert all(torch.isfinite(w).all() for w in weights(lm))


def test_stops_at_the_kl_budget_before_going_further(tiny_model: Path) -> None:
    lm = adapted(tiny_model)
    at: list[list[torch.Tensor]] = []
    config = replace(BASE, steps=40, kl_coefficient=0.0, kl_budget=0.5)
    result = run(lm, config, on_step=lambda *_: at.append([w.clone() for w in weights(lm)]))
    assert result.stopped == "kl_budget"
    kl = [m["kl"] for m in result.metrics]
    assert kl[-1] >= 0.5 > max(kl[:-1])
    assert result.steps == len(kl) - 1
    assert all(torch.equal(a, b) for a, b in zip(at[-1], at[-2], strict=True))


def test_a_run_that_was_told_to_stop_stays_stopped_and_goes_on_when_it_may(tiny_model: Path, tmp_path: Path) -> None:
    straight, stopped, again, resumed = (adapted(tiny_model) for _ in range(4))
    run(straight, BASE)
    result = run(stopped, BASE, out=tmp_path, stop=lambda made: made >= 2)
    assert (result.steps, result.stopped) == (2, "stop")
    assert run(again, BASE, out=tmp_path, stop=lambda made: made >= 2) == result
    assert same(again, stopped)
    assert run(resumed, BASE, out=tmp_path, stop=lambda made: False).stopped == "steps"
    assert same(resumed, straight)


def test_the_coefficient_adapts_towards_the_target(tiny_model: Path) -> None:
    def coefficient(target: float) -> float:
        config = replace(BASE, steps=6, kl_target=target, kl_horizon=50)
        return run(adapted(tiny_model), config).metrics[-1]["kl_coefficient"]

    assert coefficient(1e-3) > BASE.kl_coefficient > coefficient(1e3)


def test_kl_is_measured_from_where_the_run_began_and_never_clamped(tiny_model: Path) -> None:
    first = run(adapted(tiny_model), BASE).metrics
    assert first[0]["kl"] == 0
    assert first[-1]["kl"] > 0
    assert first[-1]["kl_token"] == pytest.approx(first[-1]["kl"] / first[-1]["length"], rel=1e-5)
    again = run(adapted(tiny_model), replace(BASE, learning_rate=1e-5, steps=8)).metrics
    assert min(m["kl"] for m in again) < 0  # k1 on few samples is often negative near 0


class Nothing:
    def score(self, episodes: Sequence[Episode]) -> Scores:
        return Scores(np.zeros(len(episodes)))


def test_a_step_in_which_all_scored_the_same_can_be_left_out(tiny_model: Path) -> None:
    begun, moved, kept = adapted(tiny_model), adapted(tiny_model), adapted(tiny_model)
    run(moved, BASE, reward=Nothing())  # the value head's errors and the KL, scaled up to unit variance
    metrics = run(kept, replace(BASE, skip_equal_scores=True), reward=Nothing()).metrics
    assert not same(begun, moved)
    assert same(begun, kept)
    assert [m["kept"] for m in metrics] == [0.0] * BASE.steps
    run(kept, replace(BASE, skip_equal_scores=True))
    run(begun, BASE)
    assert same(begun, kept)  # where scores differ nothing is different


def test_a_step_that_is_left_out_tells_the_kl_and_selected_successes_are_learned_from(tiny_model: Path) -> None:
    class Success:
        def score(self, episodes: Sequence[Episode]) -> Scores:
            return Scores(np.ones(len(episodes)))

    lm, other = adapted(tiny_model), adapted(tiny_model)
    once = replace(BASE, algorithm="grpo", epochs=1, kl_in="k3", skip_equal_scores=True)  # nothing is measured ahead
    assert abs(run(lm, once, reward=Success()).metrics[0]["kl"]) < 1e-4  # the policy is its own reference
    run(other, replace(BASE, algorithm="all_successes", skip_equal_scores=True), reward=Success())
    assert not same(lm, other)


def test_truncation_penalty_teaches_to_end(tiny_model: Path) -> None:
    lm = adapted(tiny_model)
    sampling = Sampling(n=8, max_tokens=8, stop_ids=tuple(range(0, 300, 24)))
    config = replace(BASE, algorithm="rloo", steps=12, truncation_penalty=1.0, sampling=sampling, kl_coefficient=0.0)
    metrics = run(lm, config, reward=Nothing()).metrics
    assert metrics[-1]["truncated"] < metrics[0]["truncated"] - 0.2
    assert all(m["proxy"] == 0 for m in metrics)  # what is logged is the reward before penalties


def test_sampler_correction_truncates(tiny_model: Path) -> None:
    """A sampler that claims other probabilities than the learner's."""
    lm = adapted(tiny_model)

    class Drifted(TorchEngine):
        def generate(self, *arguments, **named):
            return [
                replace(e, logprobs=e.logprobs - 1.0 * e.action_mask) for e in super().generate(*arguments, **named)
            ]

    metrics: dict[float | None, dict[str, float]] = {}
    for cap in (None, 1.0, 2.0, 100.0):
        lm = adapted(tiny_model)
        config = replace(BASE, algorithm="expert_iteration", steps=1, epochs=1, sampler_correction=cap, kl_in="k3")
        engine = Drifted(lm, policy="tiny")
        metrics[cap] = optimise(lm, some_tasks(), EvenTokens(), config, engine=engine, progress=False).metrics[0]
    plain = metrics[None]["policy_loss"]
    assert metrics[None]["sampler_gap_mean"] == pytest.approx(1.0, abs=1e-3)
    assert (
        metrics[None]["sampler_gap_max"] >= metrics[None]["sampler_gap_p99"] >= metrics[None]["sampler_gap_mean"] - 1e-9
    )
    assert metrics[1.0]["policy_loss"] == pytest.approx(plain, rel=1e-4)
    assert metrics[2.0]["policy_loss"] == pytest.approx(2 * plain, rel=1e-4)
    assert metrics[100.0]["policy_loss"] == pytest.approx(np.e * plain, rel=1e-3)


# ---------------------------------------------------------------- coming back


@pytest.mark.parametrize("every", [1, 2, 3])  # with 6 tasks and 4 per step: 3 steps are two whole epochs
def test_a_run_that_broke_off_ends_bit_for_bit_as_the_straight_one(
    tiny_model: Path, tmp_path: Path, every: int
) -> None:
    config = replace(
        BASE,
        steps=5,
        minibatches=2,
        kl_target=0.05,
        normalise_scores=True,
        warmup_steps=2,
        decay="cosine",
        checkpoint_every=every,
    )

    class Noisy(EvenTokens):
        """Draws from every global generator, as a reward may."""

        def score(self, episodes: Sequence[Episode]) -> Scores:
            noise = np.random.rand(len(episodes)) + torch.rand(len(episodes)).numpy()
            return Scores(super().score(episodes).value + 0.1 * noise)

    def seed() -> None:
        np.random.seed(7)
        torch.manual_seed(7)

    straight, broken, resumed = (adapted(tiny_model) for _ in range(3))
    seed()
    whole = run(straight, config, reward=Noisy())

    def break_off(metrics: dict[str, float], *_: object) -> None:
        if metrics["step"] == 4:
            raise RuntimeError("power cut")

    seed()
    with pytest.raises(RuntimeError, match="power cut"):
        run(broken, config, reward=Noisy(), out=tmp_path, on_step=break_off)
    result = run(resumed, config, reward=Noisy(), out=tmp_path)
    assert same(straight, resumed)
    assert without_clock(result.metrics) == without_clock(whole.metrics)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5]


def test_a_finished_run_is_not_run_again(tiny_model: Path, tmp_path: Path) -> None:
    first, second = adapted(tiny_model), adapted(tiny_model)
    done = run(first, BASE, out=tmp_path)
    steps: list[object] = []
    again = run(second, BASE, out=tmp_path, on_step=lambda *_: steps.append(0))
    assert not steps
    assert same(first, second)
    assert again == done


def test_ctrl_c_ends_after_the_step_with_a_checkpoint(tiny_model: Path, tmp_path: Path) -> None:
    straight, resumed = adapted(tiny_model), adapted(tiny_model)
    run(straight, BASE)
    with pytest.raises(KeyboardInterrupt):
        run(adapted(tiny_model), BASE, out=tmp_path, on_step=lambda *_: os.kill(os.getpid(), signal.SIGINT))
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["step-000001"]
    run(resumed, BASE, out=tmp_path)
    assert same(straight, resumed)


def test_a_damaged_checkpoint_is_passed_over_and_that_is_said(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    straight, resumed = adapted(tiny_model), adapted(tiny_model)
    config = replace(BASE, checkpoint_every=1)
    run(straight, config, out=tmp_path)
    state = tmp_path / "checkpoints" / "step-000003" / "state.pt"
    data = bytearray(state.read_bytes())
    data[len(data) // 2] ^= 1
    state.write_bytes(data)
    with pytest.warns(UserWarning, match=r"is damaged \(its checksum does not match\)"):
        optimise(resumed, some_tasks(), EvenTokens(), config, engine=TorchEngine(resumed, policy="tiny"), out=tmp_path)
    said = " ".join(capsys.readouterr().err.split())
    assert "after step 2" in said
    assert same(straight, resumed)


def test_a_checkpoint_of_another_run_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    run(adapted(tiny_model), BASE, out=tmp_path)
    with pytest.raises(InputError, match=r"another run \(kl_coefficient was 0.05, now 0.1\)"):
        run(adapted(tiny_model), replace(BASE, kl_coefficient=0.1), out=tmp_path)
    with pytest.raises(InputError, match=r"another run \(other model\)"):
        run(load(tiny_model, dtype="float32"), BASE, out=tmp_path)


def test_tasks_come_round_once_per_epoch_in_a_new_order() -> None:
    tasks = some_tasks(6)
    order = [t.id for step in range(6) for t in tasks_of_step(tasks, 4, step, seed=3)]
    epochs = [order[i : i + 6] for i in range(0, 24, 6)]
    assert all(sorted(e) == sorted(t.id for t in tasks) for e in epochs)
    assert len({tuple(e) for e in epochs}) > 1


def test_running_statistics_are_those_of_everything_seen() -> None:
    g = torch.Generator().manual_seed(0)
    parts = [torch.randn(n, generator=g, dtype=torch.float64) * 3 + 5 for n in (1, 7, 30)]
    statistics = RunningStatistics()
    for part in parts:
        statistics.add(part)
    assert statistics.mean == pytest.approx(float(torch.cat(parts).mean()))
    assert statistics.scale() == pytest.approx(float(torch.cat(parts).std(correction=0)))
    assert RunningStatistics().scale() == 1


def test_what_is_divided_by_is_never_made_of_rounding() -> None:
    def scale(*values: float) -> float:
        statistics = RunningStatistics()
        statistics.add(torch.tensor(values, dtype=torch.float64))
        return statistics.scale()

    assert scale(0.1, 0.1, 0.1) == scale(0.1, 0.1 + 1e-16, 0.1) == scale(1e9, 1e9 + 1e-6) == scale(0.0, 0.0) == 1
    assert scale(5.0, 5.001) == pytest.approx(0.05, rel=1e-2)  # no score is scaled up to more than a hundred
    assert scale(1e-9, -1e-9) == pytest.approx(1e-9)  # small rewards are as good as large ones


# ---------------------------------------------------------------- bad input


def test_unknown_algorithms_and_options_name_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'dr_grpo'"):
        OptimiseConfig(algorithm="drgrpo")
    with pytest.raises(InputError, match="algorithm grpo has no option 'lam'; ppo has it"):
        algorithm.make("grpo", lam=0.5)
    with pytest.raises(InputError, match="algorithm rloo has no option 'width'; it has clip, clip_high"):
        algorithm.make("rloo", width=1)


@pytest.mark.parametrize("option", [{"top_k": 5}, {"top_p": 0.9}, {"min_tokens": 2}, {"temperature": 0.0}])
def test_sampling_that_the_gradient_does_not_know_is_refused(option: dict[str, float]) -> None:
    with pytest.raises(InputError, match=f"{next(iter(option))} is .* during training"):
        OptimiseConfig(sampling=Sampling(n=4, **option))


@pytest.mark.parametrize(
    "option",
    [{"steps": 0}, {"minibatches": 99}, {"decay": "square"}, {"kl_in": "k1"}, {"kl_target": -1.0}],
)
def test_an_option_out_of_range_says_what_is_right(option: dict[str, object]) -> None:
    with pytest.raises(InputError, match=f"option {next(iter(option))} is .*; it must be"):
        OptimiseConfig(**option)
    with pytest.raises(InputError, match=r"option clip is 1.5; it must be"):
        algorithm.make("ppo", clip=1.5)


def test_comparing_algorithms_need_something_to_compare() -> None:
    with pytest.raises(InputError, match=r"sampling\.n must be 2 or more"):
        OptimiseConfig(algorithm="grpo", sampling=Sampling(n=1))


def test_too_few_tasks_and_unwritable_folders_are_one_sentence(tiny_model: Path, tmp_path: Path) -> None:
    lm = adapted(tiny_model)
    with pytest.raises(InputError, match="6 tasks for 7 per step"):
        run(lm, replace(BASE, tasks_per_step=7))
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        run(lm, BASE, out=tmp_path / "file")
