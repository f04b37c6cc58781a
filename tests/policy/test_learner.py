from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_policy import adapted, some_episodes
from torch import Tensor
from transformers import AutoModelForCausalLM

from custodes.lm.adapter import AdapterConfig
from custodes.lm.engine import TorchEngine
from custodes.lm.loading import LanguageModel, load
from custodes.policy.learner import Forward, Learner, Reference
from custodes.policy.rollout import Pack, _table, make_packs
from custodes.train import Diverged
from custodes.types import Episode


def packs_of(episodes: list[Episode], budget: int = 80, n: int = 3) -> list[Pack]:
    return make_packs(episodes, range(len(episodes)), budget, [i // n for i in range(len(episodes))])


def empty(episodes: list[Episode]) -> Tensor:
    return torch.zeros(len(episodes), max(len(e.token_ids) for e in episodes))


def likelihood(pack: Pack, seen: Forward) -> Tensor:
    return -seen.logprobs.sum() / 100


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_logprobs_are_those_of_transformers_at_the_sampling_temperature(tiny_model: Path, temperature: float) -> None:
    lm = load(tiny_model, dtype="float32")
    episodes = some_episodes(lm, temperature=temperature)
    measured = empty(episodes)
    Learner(lm, learning_rate=0.0).measure(packs_of(episodes), temperature, measured)
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    for row, episode in zip(measured, episodes, strict=True):
        ids = torch.from_numpy(episode.token_ids).long()
        with torch.no_grad():
            logits = model(ids[None]).logits[0, :-1] / temperature
        plain = logits.log_softmax(-1).gather(-1, ids[1:, None]).squeeze(-1)
        mask = torch.from_numpy(episode.action_mask)
        assert torch.allclose(row[: len(ids)][mask], plain[mask[1:]], atol=2e-5)
        assert not row[: len(ids)][~mask].any()


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_sampler_and_learner_agree(policy: LanguageModel, temperature: float) -> None:
    """To the last few bits: a decoding step adds up in another order than a whole sequence."""
    episodes = some_episodes(policy, temperature=temperature)
    measured = empty(episodes)
    Learner(policy, learning_rate=0.0).measure(packs_of(episodes), temperature, measured)
    sampled = torch.from_numpy(_table([e.logprobs for e in episodes]))
    assert (measured - sampled).abs().max() < 2e-5


def test_engine_and_learner_agree_bit_for_bit_on_the_same_pack(policy: LanguageModel) -> None:
    episodes = some_episodes(policy, tasks=1)
    measured = empty(episodes)
    Learner(policy, learning_rate=0.0).measure(packs_of(episodes, 10_000), 1.0, measured)
    assert torch.equal(measured, torch.from_numpy(_table(TorchEngine(policy).logprobs(episodes))))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("adapter", [None, AdapterConfig(rank=4), AdapterConfig(rank=4, first_layer=1)])
def test_ratio_is_exactly_one_before_the_first_update(tiny_model: Path, dtype, adapter: AdapterConfig | None) -> None:
    lm = load(tiny_model, dtype=dtype, adapter=adapter)
    episodes = some_episodes(lm)
    learner, packs, old = Learner(lm, learning_rate=1e-2, value_head=True), packs_of(episodes), empty(episodes)
    old_values = empty(episodes)

    def nudge(pack: Pack, seen: Forward) -> Tensor:
        return likelihood(pack, seen) + seen.values.sum()

    for _ in range(2):  # at the start, and after the weights have moved
        learner.measure(packs, 0.9, old, old_values)
        for pack in packs:
            seen = learner.forward(pack, 0.9, entropy=True)  # with gradient, as in an update
            assert seen.logprobs.requires_grad
            assert torch.equal(seen.logprobs.detach(), old.view(-1)[pack.place])
            assert torch.equal(seen.values.detach(), old_values.view(-1)[pack.place])
        learner.update(packs, nudge, 0.9)


@pytest.mark.parametrize("budget", [30, 80, 150])
def test_micro_batches_give_the_gradient_of_one_batch(policy: LanguageModel, budget: int) -> None:
    episodes = some_episodes(policy)
    count = sum(e.actions for e in episodes)

    def gradients(budget: int) -> tuple[int, list[Tensor]]:
        learner = Learner(policy, learning_rate=0.0, max_grad_norm=1e9, value_head=True)
        packs = packs_of(episodes, budget)
        for pack in packs:
            seen = learner.forward(pack, 1.0, entropy=True)
            ((seen.logprobs * pack.place.sin()).sum() + seen.entropy.sum() + seen.values.square().sum()).div(
                count
            ).backward()
        grads = [p.grad.clone() for p in [*learner.parameters, *learner.value_head.parameters()]]
        learner.trainer.optimiser.zero_grad()
        return len(packs), grads

    (one, whole), (several, parts) = gradients(10_000), gradients(budget)
    assert one == 1 < several
    for a, b in zip(whole, parts, strict=True):
        assert torch.allclose(a, b, atol=1e-6, rtol=1e-4)


def test_the_trunk_is_computed_once_and_changes_nothing(tiny_model: Path) -> None:
    lm = adapted(tiny_model)
    episodes = some_episodes(lm)
    learner, (pack, *_) = Learner(lm, learning_rate=1e-2), packs_of(episodes)
    learner.update([pack], likelihood, 1.0)
    assert pack.trunk is not None
    plain = lm.decoder.hidden(pack.batch, lm.adapter, wanted=pack.predict)
    assert torch.equal(learner._hidden(pack, lm.decoder, lm.adapter), plain)


def test_update_moves_towards_the_loss_and_the_reference_stays(policy: LanguageModel) -> None:
    episodes = some_episodes(policy)
    packs, before, after, frozen = packs_of(episodes), empty(episodes), empty(episodes), empty(episodes)
    reference = Reference.of(policy)
    learner = Learner(policy, learning_rate=1e-2)
    learner.measure(packs, 1.0, before)
    for _ in range(3):
        learner.update(packs, likelihood, 1.0)
    learner.measure(packs, 1.0, after)
    learner.measure_reference(packs, 1.0, reference, frozen)
    assert after.sum() > before.sum() + 1
    assert torch.equal(frozen, before)


def test_reference_of_a_trained_adapter_is_that_adapter_frozen(tiny_model: Path) -> None:
    lm = adapted(tiny_model)
    episodes = some_episodes(lm)
    learner, packs, now, frozen = Learner(lm, learning_rate=1e-2), packs_of(episodes), empty(episodes), empty(episodes)
    learner.update(packs, likelihood, 1.0)
    learner.measure(packs, 1.0, now)
    reference = Reference.of(lm)
    learner.update(packs, likelihood, 1.0)
    learner.measure_reference(packs, 1.0, reference, frozen)
    assert torch.equal(frozen, now)


def test_a_loss_that_is_not_finite_changes_no_weight_and_names_its_episodes(policy: LanguageModel) -> None:
    episodes = some_episodes(policy)
    packs, learner = packs_of(episodes), Learner(policy, learning_rate=1e-2)
    before = [p.detach().clone() for p in learner.parameters]
    with pytest.raises(Diverged, match="nan") as caught:
        learner.update(packs, lambda pack, seen: seen.logprobs.sum() * (torch.nan if pack is packs[1] else 1), 1.0)
    assert caught.value.rows == packs[1].episode.unique().tolist()
    assert all(torch.equal(a, b) for a, b in zip(before, learner.parameters, strict=True))


def test_a_gradient_that_is_not_finite_changes_no_weight(policy: LanguageModel) -> None:
    packs, learner = packs_of(some_episodes(policy)), Learner(policy, learning_rate=1e-2)
    before = [p.detach().clone() for p in learner.parameters]
    with pytest.raises(Diverged, match="gradient"):  # the square root of 0: finite, with an infinite slope
        learner.update(packs, lambda pack, seen: (seen.logprobs - seen.logprobs.detach()).sum().sqrt(), 1.0)
    assert all(torch.equal(a, b) for a, b in zip(before, learner.parameters, strict=True))


def test_gradient_is_clipped_to_the_norm_that_was_asked_for(policy: LanguageModel) -> None:
    packs = packs_of(some_episodes(policy))
    learner = Learner(policy, learning_rate=0.0, max_grad_norm=0.5)
    seen: list[Tensor] = []
    step = learner.trainer.optimiser.step
    learner.trainer.optimiser.step = lambda: (
        seen.extend(p.grad.clone() for p in learner.parameters if p.grad is not None),
        step(),
    )
    norm = learner.update(packs, lambda pack, out: 100 * likelihood(pack, out), 1.0)
    assert norm > 0.5
    assert float(torch.nn.utils.get_total_norm(seen)) == pytest.approx(0.5, rel=1e-4)


def test_value_head_starts_near_zero_or_as_the_reward_head(policy: LanguageModel) -> None:
    (pack, *_) = packs_of(some_episodes(policy))
    small = Learner(policy, learning_rate=0.0, value_head=True).forward(pack, 1.0).values
    assert small.abs().max() < 1
    direction = torch.linspace(-1, 1, policy.decoder.spec.hidden)
    given = Learner(policy, learning_rate=0.0, value_head=True, value_init=(direction, 0.25)).forward(pack, 1.0).values
    hidden = policy.decoder.hidden(pack.batch, policy.adapter)[pack.predict].float()
    assert torch.allclose(given, hidden @ direction + 0.25, atol=1e-5)


def test_matrices_decay_and_norms_and_biases_do_not(tiny_model: Path) -> None:
    def norms(groups: list[dict]) -> list[torch.nn.Parameter]:
        return [p for group in groups if group["weight_decay"] == 0 for p in group["params"]]

    lm = load(tiny_model, dtype="float32")
    groups = Learner(lm, learning_rate=1e-3, weight_decay=0.1, value_head=True).trainer.optimiser.param_groups
    assert {p.ndim for group in groups if group["weight_decay"] > 0 for p in group["params"]} == {2}
    vectors = [p for p in lm.trainable() if p.ndim == 1]
    assert vectors
    assert {id(p) for p in vectors} <= {id(p) for p in norms(groups)}
    assert sum(len(group["params"]) for group in groups) == len(lm.trainable()) + 2  # the value head's, without decay
