from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_policy import adapted, some_tasks

from custodes.lm.engine import TorchEngine
from custodes.lm.loading import LanguageModel, load
from custodes.policy.config import OptimiseConfig
from custodes.policy.preferences import Preference, PreferenceConfig, preference_tune
from custodes.policy.rollout import make_packs
from custodes.policy.supervised import SupervisedConfig, fine_tune, shared_openings, shuffled_batches
from custodes.policy.turns import demonstration
from custodes.types import InputError, Message, Sampling

REPLY = "The quick brown fox."


def test_a_model_learns_to_say_what_it_was_shown(tiny_model: Path) -> None:
    lm, tasks = load(tiny_model, dtype="float32"), some_tasks(4)
    config = SupervisedConfig(epochs=24, batch=4, learning_rate=2e-2, decay="linear")
    metrics = fine_tune(lm, [(task, REPLY) for task in tasks], config, progress=False)
    assert metrics[-1]["loss"] < 0.2 < metrics[0]["loss"]
    episode = TorchEngine(lm).generate(tasks[:1], Sampling(temperature=0, max_tokens=40))[0]
    assert episode.completion == REPLY
    assert episode.outcome == "stop"  # the end of turn was learned too


def test_the_loss_is_per_token_of_the_reply_whatever_the_micro_batches(tiny_model: Path) -> None:
    examples = [(task, REPLY * (1 + i)) for i, task in enumerate(some_tasks(4))]
    first = [
        fine_tune(adapted(tiny_model), examples, SupervisedConfig(micro_tokens=tokens), progress=False)[0]
        for tokens in (40, 10_000)
    ]
    assert first[0] == pytest.approx(first[1], rel=1e-4)
    lm = adapted(tiny_model)
    assert first[0]["tokens"] == sum(len(lm.encode_reply(text)) for _, text in examples)


def test_every_epoch_covers_everything_once() -> None:
    batches = shuffled_batches(10, 4, 2, seed=0)
    assert [len(b) for b in batches] == [4, 4, 2, 4, 4, 2]
    for epoch in (batches[:3], batches[3:]):
        assert sorted(i for batch in epoch for i in batch) == list(range(10))
    assert batches[:3] != batches[3:]


def test_what_cannot_be_learned_from_is_one_sentence(tiny_model: Path) -> None:
    lm = load(tiny_model, dtype="float32")
    with pytest.raises(InputError, match="task task-0: its reply is empty"):
        demonstration(lm, some_tasks(1)[0], "")
    with pytest.raises(InputError, match="over the context of 512"):
        demonstration(lm, some_tasks(1)[0], REPLY * 100)


def preference_of(lm: LanguageModel, text: str) -> float:
    episode = demonstration(lm, some_tasks(1)[0], text)
    return float(TorchEngine(lm).logprobs([episode])[0].sum())


@pytest.mark.parametrize("loss", ["dpo", "ipo"])
def test_preferences_move_the_chosen_above_the_rejected(policy: LanguageModel, loss: str) -> None:
    pairs = [Preference(task, REPLY, "A lazy dog.") for task in some_tasks(4)]
    gap = preference_of(policy, REPLY) - preference_of(policy, "A lazy dog.")
    config = PreferenceConfig(loss=loss, epochs=8, batch=4, learning_rate=5e-3, micro_tokens=100)
    metrics = preference_tune(policy, pairs, config, progress=False)
    assert metrics[0]["margin"] == pytest.approx(0, abs=1e-5)
    assert metrics[-1]["accuracy"] == 1
    assert preference_of(policy, REPLY) - preference_of(policy, "A lazy dog.") > gap + 1


def test_confidence_below_one_half_turns_a_pair_round(tiny_model: Path) -> None:
    lm = adapted(tiny_model)
    pairs = [Preference(task, REPLY, "A lazy dog.", confidence=0.1) for task in some_tasks(4)]
    metrics = preference_tune(lm, pairs, PreferenceConfig(epochs=6, batch=4, learning_rate=5e-3), progress=False)
    assert metrics[-1]["margin"] < 0


def test_ipo_margin_is_per_token_and_pairs_stay_together(tiny_model: Path) -> None:
    texts = [(REPLY * (1 + i % 3), "A lazy dog." * (1 + i % 2)) for i in range(6)]
    pairs = [Preference(task, *text) for task, text in zip(some_tasks(6), texts, strict=True)]
    outcomes = []
    for tokens in (40, 10_000):
        lm = adapted(tiny_model)
        config = PreferenceConfig(loss="ipo", epochs=2, batch=3, learning_rate=1e-2, micro_tokens=tokens)
        outcomes.append(preference_tune(lm, pairs, config, progress=False))
    for few, many in zip(*outcomes, strict=True):
        assert few == pytest.approx(many, rel=2e-2, abs=1e-3)
    assert torch.isfinite(torch.tensor([m["loss"] for m in outcomes[0]])).all()


def test_instructions_that_examples_share_are_computed_once_and_change_no_gradient(tiny_model: Path) -> None:
    lm = adapted(tiny_model)
    system = Message("system", "Be brief. " * 12)
    tasks = [replace(task, messages=(system, *task.messages)) for task in some_tasks(5)] + some_tasks(2)
    episodes = [demonstration(lm, task, REPLY * (1 + i % 3)) for i, task in enumerate(tasks)]
    rows, groups = shared_openings(episodes, [6, 3, 0, 5, 1, 4, 2], budget=10_000)
    assert sorted(rows) == list(range(7))
    assert len({groups[i] for i in range(5)}) == 1
    assert len({groups[i] for i in range(7)}) == 3
    (pack,) = make_packs(episodes, rows, 10_000, groups)
    shared = len(lm.encode((system,))) - 20
    assert pack.batch.tokens <= sum(len(e.token_ids) for e in episodes) - 4 * shared
    cut, cut_groups = shared_openings(episodes, range(7), budget=max(len(e.token_ids) for e in episodes) + 1)
    assert len({cut_groups[i] for i in cut}) > 3  # no more of them together than a pass can take
    examples = [(task, REPLY) for task in tasks]
    together = fine_tune(adapted(tiny_model), examples, SupervisedConfig(batch=7), progress=False)[0]
    apart = fine_tune(adapted(tiny_model), examples, SupervisedConfig(batch=7, micro_tokens=1), progress=False)[0]
    assert together["loss"] == pytest.approx(apart["loss"], rel=1e-4)
    assert together["grad_norm"] == pytest.approx(apart["grad_norm"], rel=1e-3)


def test_a_warm_up_longer_than_the_run_is_refused(tiny_model: Path) -> None:
    config = SupervisedConfig(warmup_steps=2)
    with pytest.raises(InputError, match=r"warmup_steps is 2; it must be at most the number of updates \(1\)"):
        fine_tune(adapted(tiny_model), [(task, "Yes.") for task in some_tasks(2)], config, progress=False)
    with pytest.raises(InputError, match=r"warmup_steps is 9; it must be at most steps \(8\)"):
        OptimiseConfig(steps=8, warmup_steps=9)
