from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_models import write_model
from transformers import AutoModelForCausalLM

from custodes.lm.adapter import AdapterConfig
from custodes.lm.chat import Chat
from custodes.lm.engine import TorchEngine
from custodes.lm.kernels import native
from custodes.lm.loading import LanguageModel, load
from custodes.types import Episode, InputError, Message, Sampling, Task

WORDS = ["who", "watches", "the", "quick", "brown", "fox", "and", "those", "seven", "small", "random", "models"]


def tasks(count: int) -> list[Task]:
    """Prompts of many lengths."""
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(WORDS, 1 + i % 9)) for i in range(count)]
    return [Task(str(i), (Message("user", text),)) for i, text in enumerate(texts)]


def tokens(episodes: Sequence[Episode]) -> list[list[int]]:
    return [e.token_ids[e.action_mask].tolist() for e in episodes]


@pytest.fixture(scope="module")
def lm(tiny_model: Path) -> LanguageModel:
    return load(tiny_model, dtype="float32")


@pytest.fixture(scope="module")
def wide(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    """head_dim 32: what the compiled step takes."""
    folder = tmp_path_factory.mktemp("wide")
    write_model(folder, tiny_model, head_dim=32)
    return load(folder, dtype="bfloat16")


def ending(lm: LanguageModel, sampling: Sampling, count: int = 40) -> Sampling:
    """The same sampling with stop ids that are common, so that replies have many lengths."""
    drawn = np.concatenate([t for t in tokens(TorchEngine(lm).generate(tasks(count), sampling)) if t])
    common = np.bincount(drawn).argsort()[-4:]
    return dataclasses.replace(sampling, stop_ids=tuple(int(i) for i in common))


def greedy_by_transformers(lm: LanguageModel, asked: Sequence[Task], max_tokens: int) -> list[list[int]]:
    """Prompts of one length at a time, so that nothing is padded."""
    theirs = AutoModelForCausalLM.from_pretrained(lm.folder, dtype=torch.float32)
    prompts = [lm.encode(task.messages) for task in asked]
    replies: dict[int, list[int]] = {}
    for length in {len(p) for p in prompts}:
        chosen = [i for i, p in enumerate(prompts) if len(p) == length]
        ids = torch.from_numpy(np.stack([prompts[i] for i in chosen])).long()
        out = theirs.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=max_tokens,
            do_sample=False,
            eos_token_id=list(lm.end_ids),
            pad_token_id=lm.end_ids[0],
        )
        for i, reply in zip(chosen, out[:, length:].tolist(), strict=True):
            end = next((n for n, token in enumerate(reply) if token in lm.end_ids), len(reply))
            replies[i] = reply[: end + 1]
    return [replies[i] for i in range(len(asked))]


def test_greedy_tokens_are_those_of_transformers(lm: LanguageModel):
    asked = tasks(50)
    ours = TorchEngine(lm, max_batch=7).generate(asked, Sampling(temperature=0, max_tokens=16))
    assert tokens(ours) == greedy_by_transformers(lm, asked, 16)


@pytest.mark.slow
def test_greedy_tokens_of_the_real_model_are_those_of_transformers():
    real = load("smollm2-135m", dtype="float32")
    asked = [
        Task(str(i), (Message("user", f"Name {what}. Number {i}."),))
        for i, what in enumerate(["a colour", "an animal and why you like it", "three rivers", "a tool", "a word"] * 10)
    ]
    ours = TorchEngine(real, max_batch=16).generate(asked, Sampling(temperature=0, max_tokens=12))
    assert tokens(ours) == greedy_by_transformers(real, asked, 12)


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "mean", "largest"), [("float32", 1e-5, 1e-3), ("bfloat16", 0.08, 1.0)])
def test_sampler_and_learner_agree_on_the_real_model(dtype: str, mean: float, largest: float):
    """The bounds that the documentation states for the difference of log-probabilities, nats per token."""
    real = load("smollm2-135m", dtype=dtype)  # type: ignore[arg-type]
    asked = [Task(str(i), (Message("user", f"Write one sentence about {w}."),)) for i, w in enumerate(WORDS)]
    engine = TorchEngine(real)
    episodes = engine.generate(asked, Sampling(max_tokens=48, n=2))
    difference = np.concatenate(
        [(e.logprobs - learner)[e.action_mask] for e, learner in zip(episodes, engine.logprobs(episodes), strict=True)]
    )
    assert np.abs(difference).mean() < mean
    assert np.abs(difference).max() < largest


def test_sampler_and_learner_agree(lm: LanguageModel, wide: LanguageModel):
    for model, mean, largest in ((lm, 1e-5, 1e-3), (wide, 0.05, 0.6)):
        engine = TorchEngine(model, max_batch=5)
        for temperature in (1.0, 0.7):
            episodes = engine.generate(tasks(12), Sampling(max_tokens=12, n=2, temperature=temperature))
            for episode, learner in zip(episodes, engine.logprobs(episodes, temperature), strict=True):
                assert not learner[~episode.action_mask].any()
                difference = np.abs(episode.logprobs - learner)[episode.action_mask]
                assert difference.mean() < mean * 3
                assert difference.max() < largest


def test_logprobs_are_taken_at_the_temperature(lm: LanguageModel):
    episodes = TorchEngine(lm).generate(tasks(6), Sampling(max_tokens=8, temperature=0.5))
    at_one, at_half = (TorchEngine(lm).logprobs(episodes, t) for t in (1.0, 0.5))
    for episode, one, half in zip(episodes, at_one, at_half, strict=True):
        np.testing.assert_allclose(episode.logprobs, half, atol=1e-4)
        assert np.abs(episode.logprobs - one)[episode.action_mask].max() > 0.05


def test_truncated_sampling_reports_renormalised_logprobs(lm: LanguageModel):
    engine = TorchEngine(lm)
    episodes = engine.generate(tasks(20), Sampling(max_tokens=8, top_k=2))
    for episode, full in zip(episodes, engine.logprobs(episodes), strict=True):
        assert (episode.logprobs >= full - 1e-4).all()  # mass can only be gained
    one = engine.generate(tasks(4), Sampling(max_tokens=4, top_k=1))
    assert all(np.abs(e.logprobs).max() < 1e-5 for e in one)  # the only token left has probability 1


@pytest.mark.parametrize("batch", [1, 3, 16])
def test_waiting_for_a_slot_changes_no_reply(lm: LanguageModel, batch: int):
    sampling = ending(lm, Sampling(temperature=0, max_tokens=24))
    asked = tasks(25)
    alone = [TorchEngine(lm).generate([task], sampling)[0] for task in asked]
    together = TorchEngine(lm, max_batch=batch).generate(asked, sampling)
    assert tokens(together) == tokens(alone)
    assert len({e.actions for e in together}) > 4  # replies did end at many lengths


@pytest.mark.parametrize("batch", [1, 4, 64])
def test_batch_size_does_not_change_what_is_drawn(lm: LanguageModel, batch: int):
    sampling = ending(lm, Sampling(max_tokens=16, n=3, seed=5))
    reference = TorchEngine(lm, max_batch=9).generate(tasks(10), sampling)
    drawn = TorchEngine(lm, max_batch=batch).generate(tasks(10), sampling)
    assert tokens(drawn) == tokens(reference)
    assert [e.id for e in drawn] == [e.id for e in reference]
    for a, b in zip(drawn, reference, strict=True):
        np.testing.assert_allclose(a.logprobs, b.logprobs, atol=1e-4)


def test_in_bfloat16_the_same_requests_together_draw_the_same_bit_for_bit(tiny_model: Path):
    lm = load(tiny_model, dtype="bfloat16")
    sampling = ending(lm, Sampling(max_tokens=16, n=3, seed=5))
    first = TorchEngine(lm, max_batch=9).generate(tasks(10), sampling)
    TorchEngine(lm).generate(tasks(4), replace(sampling, seed=9))  # what was drawn in between leaves no trace
    again = TorchEngine(load(tiny_model, dtype="bfloat16"), max_batch=9).generate(tasks(10), sampling)
    assert tokens(again) == tokens(first)
    assert all(np.array_equal(a.logprobs, b.logprobs) for a, b in zip(again, first, strict=True))


def test_memory_bounds_the_batch_and_changes_nothing(lm: LanguageModel):
    sampling = Sampling(max_tokens=6, n=2)
    few = TorchEngine(lm, cache_gb=1e-9).generate(tasks(5), sampling)
    assert tokens(few) == tokens(TorchEngine(lm).generate(tasks(5), sampling))


def test_the_seed_decides(lm: LanguageModel):
    def draw(seed: int) -> list[list[int]]:
        return tokens(TorchEngine(lm).generate(tasks(6), Sampling(max_tokens=8, n=2, seed=seed)))

    assert draw(1) == draw(1) != draw(2)


def test_samples_of_one_prompt_differ_and_stand_side_by_side(lm: LanguageModel, wide: LanguageModel):
    for model in (lm, wide):
        asked = tasks(5)
        episodes = TorchEngine(model, max_batch=4).generate(asked, Sampling(max_tokens=12, n=6, seed=1))
        assert [e.task.id for e in episodes] == [t.id for t in asked for _ in range(6)]
        for i, task in enumerate(asked):
            group = episodes[6 * i : 6 * i + 6]
            prompt = model.encode(task.messages)
            assert all(e.token_ids[: len(prompt)].tolist() == prompt.tolist() for e in group)
            assert len({tuple(t) for t in tokens(group)}) == 6
        assert len({e.id for e in episodes}) == 30


def test_asking_twice_for_one_prompt_draws_anew(lm: LanguageModel):
    first, second = TorchEngine(lm).generate([tasks(1)[0]] * 2, Sampling(max_tokens=12))
    assert tokens([first]) != tokens([second])


@pytest.mark.skipif(native(torch.bfloat16) is None, reason="no C compiler here")
def test_compiled_path_shares_prompts_and_refills_slots_without_a_trace(wide: LanguageModel):
    """Each reply is what the learner's own forward pass finds likely: no slot reads another's cache."""
    sampling = ending(wide, Sampling(max_tokens=20, n=3, seed=2))
    engine = TorchEngine(wide, max_batch=5)
    episodes = engine.generate(tasks(15), sampling)
    assert len({e.actions for e in episodes}) > 4
    for episode, learner in zip(episodes, engine.logprobs(episodes), strict=True):
        assert np.abs(episode.logprobs - learner).max() < 0.6


def test_stop_ids_end_a_reply_and_count_as_its_last_action(lm: LanguageModel):
    sampling = ending(lm, Sampling(max_tokens=30))
    lm = dataclasses.replace(lm, chat=Chat(lm.tokenizer, sampling.stop_ids[:2]))
    episodes = TorchEngine(lm).generate(tasks(20), sampling)
    ends = set(sampling.stop_ids)
    assert {reply[-1] for reply in tokens(episodes)} & set(lm.end_ids)
    for episode, reply in zip(episodes, tokens(episodes), strict=True):
        assert not ends & set(reply[:-1])
        assert (reply[-1] in ends) == (episode.outcome == "stop")
        assert episode.action_mask[-1]  # eos stays an action although it is also the padding token
        assert episode.cost["completion_tokens"] == len(reply)


def test_stop_texts_cut_the_reply_at_the_text(lm: LanguageModel):
    free = TorchEngine(lm).generate(tasks(10), Sampling(max_tokens=20, seed=3))
    stop = free[0].completion[4:6]
    stopped = TorchEngine(lm).generate(tasks(10), Sampling(max_tokens=20, seed=3, stop=(stop, "\x00")))
    for before, after in zip(free, stopped, strict=True):
        assert stop not in after.completion
        assert before.completion.startswith(after.completion)
        assert tokens([before])[0][: after.actions] == tokens([after])[0]
        if stop in before.completion:
            assert after.outcome == "stop"
    assert stopped[0].completion == free[0].completion[: free[0].completion.find(stop)]


def test_min_tokens_holds_back_every_kind_of_end(lm: LanguageModel):
    sampling = ending(lm, Sampling(max_tokens=12))
    at_least = dataclasses.replace(sampling, min_tokens=6, stop=tuple("aeiou ts"))
    episodes = TorchEngine(lm).generate(tasks(20), at_least)
    assert min(e.actions for e in TorchEngine(lm).generate(tasks(20), sampling)) < 6
    assert all(e.actions >= 6 for e in episodes)
    ends = {*lm.end_ids, *sampling.stop_ids}
    assert all(not ends & set(reply[:6]) for reply in tokens(episodes))


@pytest.mark.parametrize("max_tokens", [1, 5])
def test_a_cut_reply_says_so(lm: LanguageModel, max_tokens: int):
    episodes = TorchEngine(lm).generate(tasks(8), Sampling(max_tokens=max_tokens, min_tokens=max_tokens))
    assert {e.outcome for e in episodes} == {"length"}
    assert {e.actions for e in episodes} == {max_tokens}


def test_a_prefix_is_continued_and_is_no_action(lm: LanguageModel, wide: LanguageModel):
    for model in (lm, wide):
        asked, prefixes = tasks(4), ["The", "", "watches the", "seven"]
        episodes = TorchEngine(model).generate(asked, Sampling(max_tokens=7, n=2), prefixes)
        for i, episode in enumerate(episodes):
            prefix = prefixes[i // 2]
            start = model.encode(asked[i // 2].messages, prefix)
            assert episode.completion.startswith(prefix)
            assert episode.token_ids[: len(start)].tolist() == start.tolist()
            assert not episode.action_mask[: len(start)].any()
            assert episode.action_mask[len(start) :].all()
            assert not episode.logprobs[: len(start)].any()


def test_one_prefix_for_each_task(lm: LanguageModel):
    with pytest.raises(InputError, match="2 prefixes for 3 tasks"):
        TorchEngine(lm).generate(tasks(3), Sampling(), ["a", "b"])


def test_what_does_not_fit_the_context_is_refused(lm: LanguageModel):
    long = Task("long", (Message("user", "fox " * 600),))
    with pytest.raises(InputError, match=r"task long: .* context of 512 tokens"):
        TorchEngine(lm).generate([long], Sampling(max_tokens=8))
    with pytest.raises(InputError, match="reply of up to 512"):
        TorchEngine(lm).generate(tasks(1), Sampling(max_tokens=512))


def test_the_very_last_token_of_the_context_can_be_drawn(lm: LanguageModel, wide: LanguageModel):
    for model in (lm, wide):
        long = (Task("full", (Message("user", "fox " * n),)) for n in range(500, 0, -1))
        task, room = next((t, r) for t in long if (r := model.decoder.spec.context - len(model.encode(t.messages))) > 9)
        (episode,) = TorchEngine(model).generate([task], Sampling(max_tokens=room, min_tokens=room))
        assert len(episode.token_ids) == model.decoder.spec.context


def test_nothing_asked_nothing_given(lm: LanguageModel):
    assert TorchEngine(lm).generate([], Sampling()) == []
    assert TorchEngine(lm).logprobs([]) == []


def test_progress_counts_up_to_all_replies(lm: LanguageModel):
    seen: list[tuple[int, int]] = []
    TorchEngine(lm, max_batch=3).generate(
        tasks(5), Sampling(max_tokens=4, n=2), on_progress=lambda done, total: seen.append((done, total))
    )
    assert seen == sorted(seen)
    assert seen[-1] == (10, 10)


def test_an_adapter_takes_part_in_sampling(tiny_model: Path):
    lm = load(tiny_model, dtype="float32", adapter=AdapterConfig(rank=2))
    before = TorchEngine(lm).generate(tasks(4), Sampling(max_tokens=8))
    for parameter in lm.trainable():
        parameter.data.normal_(0, 0.3, generator=torch.Generator().manual_seed(0))
    lm.refresh()
    engine = TorchEngine(lm)
    after = engine.generate(tasks(4), Sampling(max_tokens=8))
    assert tokens(before) != tokens(after)
    assert {e.policy for e in before}.isdisjoint(e.policy for e in after)
    for episode, learner in zip(after, engine.logprobs(after), strict=True):
        np.testing.assert_allclose(episode.logprobs, learner, atol=1e-4)


def test_padding_and_end_may_be_one_token_in_the_prompt_too(lm: LanguageModel):
    """A chat prompt holds end-of-turn tokens, which are also the padding: they must be attended."""
    messages = (Message("user", "who"), Message("assistant", "fox"), Message("user", "the"))
    prompt = lm.encode(messages)
    assert lm.tokenizer.pad_token_id == lm.end_ids[0]
    assert (prompt == lm.end_ids[0]).sum() == 3
    task = Task("chat", messages)
    mixed = TorchEngine(lm).generate([*tasks(3), task], Sampling(temperature=0, max_tokens=10))
    assert tokens(mixed[-1:]) == greedy_by_transformers(lm, [task], 10)
