"""Replies drawn as they are asked for: the same as in a batch of prompts, with nothing computed twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_models import write_model

from custodes.lm.decode import TILE
from custodes.lm.engine import TorchEngine
from custodes.lm.loading import LanguageModel, load
from custodes.lm.pages import Pages, page_names
from custodes.lm.requests import Request, make_request
from custodes.lm.stream import Room, Stream
from custodes.types import InputError, Message, Sampling, Task

OPENING = "Instructions that every task of this environment shares, word for word. " * 3
SAMPLING = Sampling(max_tokens=20, seed=4, stop_ids=tuple(range(0, 320, 9)))


@pytest.fixture(scope="module", params=["torch", "compiled", "compiled-norms"])
def lm(request: pytest.FixtureRequest, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    """Heads of 8 go through torch, heads of 32 through the compiled step (where there is a compiler)."""
    if request.param == "torch":
        return load(tiny_model, dtype="float32")
    folder = tmp_path_factory.mktemp(request.param)
    write_model(folder, tiny_model, "Qwen3" if "norms" in request.param else "Llama", head_dim=32)
    return load(folder, dtype="float32")


def tasks(count: int) -> list[Task]:
    words = ["who", "watches", "the", "quick", "brown", "fox"]
    return [
        Task(str(i), (Message("system", OPENING), Message("user", " ".join((words * 3)[i % 6 : i % 6 + 1 + i % 7]) + f" {i}")))
        for i in range(count)
    ]  # fmt: skip


def opened(lm: LanguageModel, sampling: Sampling = SAMPLING, max_batch: int = 8, cache_gb: float = 0.01) -> Stream:
    return Stream(lm, sampling, max_batch=max_batch, cache_gb=cache_gb)


def finish_all(stream: Stream, requests: Sequence[Request]) -> list[Request]:
    for request in requests:
        stream.ask(request)
    ended = []
    while stream.busy:
        ended += stream.advance()
    return ended


def prompts(lm: LanguageModel, count: int) -> list[Request]:
    return [make_request(lm.encode(task.messages), SAMPLING.seed) for task in tasks(count)]


def test_replies_are_those_of_the_engine(lm: LanguageModel) -> None:
    expected = TorchEngine(lm).generate(tasks(20), SAMPLING)
    asked = prompts(lm, 20)
    assert len(finish_all(opened(lm), asked)) == 20
    engine = TorchEngine(lm)
    for request, theirs, task in zip(asked, expected, tasks(20), strict=True):
        ours = engine.episode(task, request, theirs.policy)
        assert ours.token_ids.tolist() == theirs.token_ids.tolist()
        assert (ours.id, ours.completion, ours.outcome) == (theirs.id, theirs.completion, theirs.outcome)
        np.testing.assert_allclose(ours.logprobs, theirs.logprobs, atol=1e-4)


def test_when_a_reply_is_asked_for_changes_nothing(lm: LanguageModel) -> None:
    together, one_by_one, late = prompts(lm, 9), prompts(lm, 9), prompts(lm, 9)
    finish_all(opened(lm), together)
    for request in one_by_one:
        finish_all(opened(lm, max_batch=1), [request])
    stream, waiting = opened(lm, max_batch=3), list(late)
    while waiting or stream.busy:
        if waiting:
            stream.ask(waiting.pop())
        stream.advance()
    assert [r.tokens for r in together] == [r.tokens for r in one_by_one] == [r.tokens for r in late]


def test_what_tasks_begin_with_alike_is_computed_once(lm: LanguageModel) -> None:
    stream, asked = opened(lm), prompts(lm, 8)
    finish_all(stream, asked)
    shared = len(lm.encode(tasks(1)[0].messages[:1])) - 20  # without what a template puts at the end
    assert shared > 100
    everything = sum(len(r.prompt) + len(r.tokens) - 1 for r in asked)
    assert stream.computed <= everything - 7 * (shared // 32 * 32)


def test_a_conversation_that_goes_on_costs_its_new_words(lm: LanguageModel) -> None:
    stream, first = opened(lm), prompts(lm, 6)
    finish_all(stream, first)
    answer = lm.encode_reply(" And then?")
    second = [
        make_request(np.concatenate([r.prompt, np.asarray(r.tokens, np.int32), answer]), SAMPLING.seed) for r in first
    ]
    before = stream.computed
    finish_all(stream, second)
    for request, earlier in zip(second, first, strict=True):
        again = make_request(request.prompt, SAMPLING.seed)
        finish_all(opened(lm), [again])
        assert again.tokens == request.tokens
        np.testing.assert_allclose(again.logprobs, request.logprobs, atol=1e-4)
        assert len(request.prompt) > len(earlier.prompt)
    new = sum(len(answer) + len(r.tokens) for r in second)
    assert stream.computed - before <= new + 32 * len(second)  # at most a page of each is not whole


def test_the_learner_finds_the_same_log_probabilities(lm: LanguageModel) -> None:
    asked, engine = prompts(lm, 6), TorchEngine(lm)
    finish_all(opened(lm), asked)
    episodes = [engine.episode(task, request, "") for task, request in zip(tasks(6), asked, strict=True)]
    for episode, learner in zip(episodes, engine.logprobs(episodes), strict=True):
        np.testing.assert_allclose(episode.logprobs[episode.action_mask], learner[episode.action_mask], atol=1e-4)


def test_little_memory_costs_time_and_no_reply(lm: LanguageModel) -> None:
    roomy, narrow = prompts(lm, 12), prompts(lm, 12)
    finish_all(opened(lm), roomy)
    stream = opened(lm)
    longest = max(len(r.prompt) for r in narrow) + SAMPLING.max_tokens
    stream.pages = Pages(lm.decoder, longest // 32 + 2, tiles=stream.stepper.native is not None)  # type: ignore[arg-type]
    finish_all(stream, narrow)
    assert [r.tokens for r in narrow] == [r.tokens for r in roomy]
    assert stream.pages.free == stream.pages.count


def test_a_prompt_longer_than_a_pass_is_computed_in_parts(lm: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, parts = prompts(lm, 5), prompts(lm, 5)
    finish_all(opened(lm), whole)
    monkeypatch.setattr("custodes.lm.stream.PASS_TOKENS", 50)
    finish_all(opened(lm), parts)
    assert [r.tokens for r in parts] == [r.tokens for r in whole]


def test_what_does_not_fit_is_one_sentence(lm: LanguageModel) -> None:
    request = prompts(lm, 1)[0]
    with pytest.raises(InputError, match="exceed the context of 512 tokens"):
        opened(lm, replace(SAMPLING, max_tokens=500)).ask(request)
    with pytest.raises(InputError, match="do not fit 1e-09 GB"):
        opened(lm, cache_gb=1e-9).ask(request)


def test_pages_are_found_by_all_that_came_before(lm: LanguageModel) -> None:
    ids = np.arange(100, dtype=np.int32)
    names = list(page_names(ids))
    assert len(names) == 3
    assert list(page_names(ids[32:], names[0])) == names[1:]
    assert next(page_names(ids[32:])) != names[1]
    pages = Pages(lm.decoder, 4, tiles=False)  # type: ignore[arg-type]
    held = [pages.take() for _ in range(3)]
    for page, name in zip(held, names, strict=True):
        pages.name(page, name)
    assert pages.find(names) == held
    assert pages.find(names[1:]) == held[1:]
    pages.release(held)
    assert pages.free == 4
    taken = [pages.take() for _ in range(2)]  # the page that never held anything, then the last of the sequence
    assert pages.find(names) == held[:2]
    pages.release(taken)


def test_the_longest_under_way_go_on_and_the_youngest_wait() -> None:
    room = Room(10)
    assert [room.admits(name, 4 * TILE) for name in "abc"] == [True, True, False]
    assert room.admits("a", 6 * TILE)  # 6 and 4: full
    assert room.admits("a", 7 * TILE)  # it began first: it goes on, beyond what there is
    assert not room.admits("b", 4 * TILE)  # the youngest has to wait
    assert not room.admits("c", 4 * TILE)
    room.leave("a")
    assert room.admits("b", 4 * TILE)
    assert room.admits("c", 6 * TILE)


def test_one_conversation_is_always_admitted() -> None:
    room = Room(10)
    assert room.admits("a", 99 * TILE)
    assert room.admits("a", 100 * TILE)
    assert not room.admits("b", 1)
