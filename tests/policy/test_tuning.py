from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_policy import adapted, some_tasks

from custodes.lm.engine import TorchEngine
from custodes.lm.loading import LanguageModel, load
from custodes.policy.config import OptimiseConfig
from custodes.policy.learner import Reference
from custodes.policy.likelihood import _shared_openings
from custodes.policy.methods import Dpo, Ipo, Sft
from custodes.policy.rollout import make_packs
from custodes.policy.tuning import tune
from custodes.policy.turns import demonstration_of
from custodes.types import InputError, Message, PreferencePair, Sampling

REPLY = "The quick brown fox."


def test_a_model_learns_to_say_what_it_was_shown(tiny_model: Path) -> None:
    lm, tasks = load(tiny_model, dtype="float32"), some_tasks(4)
    config = Sft(epochs=24, batch=4, learning_rate=2e-2, decay="linear")
    metrics = tune(lm, [(task, REPLY) for task in tasks], config, progress=False)
    assert metrics[-1]["loss"] < 0.2 < metrics[0]["loss"]
    episode = TorchEngine(lm).generate(tasks[:1], Sampling(temperature=0, max_tokens=40))[0]
    assert episode.completion == REPLY
    assert episode.outcome == "stop"  # the end of turn was learned too


def test_the_loss_is_per_token_of_the_reply_whatever_the_micro_batches(tiny_model: Path) -> None:
    examples = [(task, REPLY * (1 + i)) for i, task in enumerate(some_tasks(4))]
    first = [
        tune(adapted(tiny_model), examples, Sft(micro_tokens=tokens), progress=False)[0] for tokens in (40, 10_000)
    ]
    assert first[0] == pytest.approx(first[1], rel=1e-4)
    lm = adapted(tiny_model)
    assert first[0]["tokens"] == sum(len(lm.encode_reply(text)) for _, text in examples)


def test_what_cannot_be_learned_from_is_one_sentence(tiny_model: Path) -> None:
    lm = load(tiny_model, dtype="float32")
    with pytest.raises(InputError, match="example task-0: its reply is empty"):
        demonstration_of(lm, some_tasks(1)[0], "")
    with pytest.raises(InputError, match="over the model's context of 512"):
        demonstration_of(lm, some_tasks(1)[0], REPLY * 100)


def preference_of(lm: LanguageModel, text: str) -> float:
    episode = demonstration_of(lm, some_tasks(1)[0], text)
    return float(TorchEngine(lm).logprobs([episode])[0].sum())


def some_pairs(
    count: int = 4, chosen: str = REPLY, rejected: str = "A lazy dog.", **more: float
) -> list[PreferencePair]:
    said = ((Message("assistant", chosen),), (Message("assistant", rejected),))
    return [PreferencePair(task.messages, *said, **more) for task in some_tasks(count)]


@pytest.mark.parametrize("method", [Dpo, Ipo])
def test_preferences_move_the_chosen_above_the_rejected(policy: LanguageModel, method: type[Dpo] | type[Ipo]) -> None:
    gap = preference_of(policy, REPLY) - preference_of(policy, "A lazy dog.")
    options = method(epochs=8, batch=4, learning_rate=5e-3, micro_tokens=100)
    metrics = tune(policy, some_pairs(), options, progress=False)
    assert metrics[0]["margin"] == pytest.approx(0, abs=1e-5)
    assert metrics[-1]["accuracy"] == 1
    assert metrics[-1]["margin"] == pytest.approx(metrics[-1]["chosen"] - metrics[-1]["rejected"], abs=1e-4)
    assert preference_of(policy, REPLY) - preference_of(policy, "A lazy dog.") > gap + 1


def test_a_label_below_one_half_turns_a_pair_round(tiny_model: Path) -> None:
    options = Dpo(epochs=6, batch=4, learning_rate=5e-3)
    assert tune(adapted(tiny_model), some_pairs(label=0.1), options, progress=False)[-1]["margin"] < 0


def test_a_pair_of_weight_0_teaches_nothing_and_the_scale_of_weights_does_not_matter(tiny_model: Path) -> None:
    def tuned(pairs: list[PreferencePair], method: type[Dpo] | type[Ipo]) -> list[torch.Tensor]:
        lm = adapted(tiny_model)
        tune(lm, pairs, method(batch=4, learning_rate=5e-3), progress=False)
        return lm.trainable()

    def same(a: list[torch.Tensor], b: list[torch.Tensor]) -> bool:
        return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))

    pairs = some_pairs()
    halved, without = [replace(p, weight=0.5) for p in pairs], [replace(pairs[0], weight=0.0), *pairs[1:]]
    for method in (Dpo, Ipo):
        assert same(tuned(pairs, method), tuned(halved, method))
        assert same(tuned(without, method), tuned([replace(without[0], label=0.0), *pairs[1:]], method))
        assert not same(tuned(pairs, method), tuned(without, method))


def test_the_reference_of_a_new_adapter_is_the_base_model_and_of_a_tuned_one_that_adapter(tiny_model: Path) -> None:
    """A pair's margin before the first update is 0 either way: the reference is the policy as it comes."""
    lm = adapted(tiny_model)
    assert Reference.of(lm).adapter is None
    tune(lm, [(task, REPLY) for task in some_tasks(4)], Sft(epochs=2, batch=4, learning_rate=1e-2), progress=False)
    assert Reference.of(lm).adapter is not None
    metrics = tune(lm, some_pairs(), Dpo(epochs=2, batch=4, learning_rate=1e-2), progress=False)
    assert [metrics[0][name] for name in ("margin", "chosen", "rejected")] == pytest.approx([0, 0, 0], abs=1e-4)
    assert metrics[1]["margin"] > 0


def test_dpo_says_what_the_chosen_reply_lost(tiny_model: Path) -> None:
    """What is told of the chosen reply is what its likelihood did, whichever way it went."""
    lm, pairs = adapted(tiny_model), some_pairs(1)
    task = replace(some_tasks(1)[0], messages=pairs[0].prompt)
    before = float(TorchEngine(lm).logprobs([demonstration_of(lm, task, REPLY)])[0].sum())
    lows = []
    for epochs in (1, 2, 4):  # told before the last update: the state after one update less
        lm = adapted(tiny_model)
        told = tune(lm, pairs, Dpo(epochs=epochs + 1, learning_rate=1e-2, decay="constant"), progress=False)[-1]
        lm = adapted(tiny_model)
        tune(lm, pairs, Dpo(epochs=epochs, learning_rate=1e-2, decay="constant"), progress=False)
        after = float(TorchEngine(lm).logprobs([demonstration_of(lm, task, REPLY)])[0].sum())
        assert told["chosen"] == pytest.approx(after - before, abs=1e-3)
        lows.append(told["rejected"])
    assert lows == sorted(lows, reverse=True)


@pytest.mark.parametrize("per_token", [True, False])
def test_pairs_stay_together_whatever_the_micro_batches(tiny_model: Path, per_token: bool) -> None:
    texts = [(REPLY * (1 + i % 3), "A lazy dog." * (1 + i % 2)) for i in range(6)]
    pairs = [replace(some_pairs(6, *text)[i]) for i, text in enumerate(texts)]
    outcomes = []
    for tokens in (40, 10_000):
        options = Ipo(epochs=2, batch=3, learning_rate=1e-2, micro_tokens=tokens, per_token=per_token)
        outcomes.append(tune(adapted(tiny_model), pairs, options, progress=False))
    for few, many in zip(*outcomes, strict=True):
        assert few == pytest.approx(many, rel=2e-2, abs=1e-3)
    assert torch.isfinite(torch.tensor([m["loss"] for m in outcomes[0]])).all()


def test_a_pair_that_cannot_be_learned_from_is_named_by_its_place(tiny_model: Path) -> None:
    pair = replace(some_pairs(1, rejected="")[0], place="prefs.jsonl, row 12")
    with pytest.raises(InputError, match=r"^prefs.jsonl, row 12, rejected: its reply is empty"):
        tune(adapted(tiny_model), [pair], Dpo(), progress=False)
    with pytest.raises(InputError, match="no example"):
        tune(adapted(tiny_model), [], Dpo(), progress=False)


def test_instructions_that_examples_share_are_computed_once_and_change_no_gradient(tiny_model: Path) -> None:
    lm = adapted(tiny_model)
    system = Message("system", "Be brief. " * 12)
    tasks = [replace(task, messages=(system, *task.messages)) for task in some_tasks(5)] + some_tasks(2)
    episodes = [demonstration_of(lm, task, REPLY * (1 + i % 3)) for i, task in enumerate(tasks)]
    rows, groups = _shared_openings(episodes, [6, 3, 0, 5, 1, 4, 2], budget=10_000)
    assert sorted(rows) == list(range(7))
    assert len({groups[i] for i in range(5)}) == 1
    assert len({groups[i] for i in range(7)}) == 3
    (pack,) = make_packs(episodes, rows, 10_000, groups)
    shared = len(lm.encode((system,))) - 20
    assert pack.batch.tokens <= sum(len(e.token_ids) for e in episodes) - 4 * shared
    cut, cut_groups = _shared_openings(episodes, range(7), budget=max(len(e.token_ids) for e in episodes) + 1)
    assert len({cut_groups[i] for i in cut}) > 3  # no more of them together than a pass can take
    examples = [(task, REPLY) for task in tasks]
    together = tune(adapted(tiny_model), examples, Sft(batch=7), progress=False)[0]
    apart = tune(adapted(tiny_model), examples, Sft(batch=7, micro_tokens=1), progress=False)[0]
    assert together["loss"] == pytest.approx(apart["loss"], rel=1e-4)
    assert together["grad_norm"] == pytest.approx(apart["grad_norm"], rel=1e-3)


def test_a_warm_up_longer_than_the_run_is_refused(tiny_model: Path) -> None:
    config = Sft(warmup_steps=2)
    with pytest.raises(InputError, match=r"warmup_steps is 2; it must be at most the number of updates \(1\)"):
        tune(adapted(tiny_model), [(task, "Yes.") for task in some_tasks(2)], config, progress=False)
    with pytest.raises(InputError, match=r"warmup_steps is 9; it must be at most steps \(8\)"):
        OptimiseConfig(steps=8, warmup_steps=9)
