"""Branches of a reply are what the engine would draw from the same tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_models import write_model

from custodes.lm.branches import Branch, Branches
from custodes.lm.decode import Stepper
from custodes.lm.engine import TorchEngine
from custodes.lm.loading import LanguageModel, load
from custodes.types import InputError, Message, Sampling, Task

TASK = Task("t", (Message("user", "who watches the seven small random models"),))
SAMPLING = Sampling(n=4, max_tokens=9, seed=3)


@pytest.fixture(scope="module", params=["narrow", "wide"])
def lm(request: pytest.FixtureRequest, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    """head_dim 32 is what the compiled step takes; float32, so that both ways of computing draw the same."""
    if request.param == "narrow":
        return load(tiny_model, dtype="float32")
    folder = tmp_path_factory.mktemp("wide")
    write_model(folder, tiny_model, head_dim=32)
    return load(folder, dtype="float32")


def drawn(branch: Branch) -> tuple[list[int], list[int]]:
    """The tokens before the last piece that was drawn, and that piece."""
    forced = np.flatnonzero(~branch.actions)
    start = int(forced[-1]) + 1 if len(forced) else 0
    return branch.tokens[:start].tolist(), branch.tokens[start:].tolist()


def by_the_engine(
    lm: LanguageModel, tree: Branches, before: Sequence[Sequence[int]], sampling: Sampling
) -> list[list[int]]:
    """``sampling.n`` replies to each beginning."""
    prompts = [np.concatenate([tree.prompt, np.asarray(b, np.int32)]) for b in before]
    episodes = TorchEngine(lm, policy="p").generate([TASK] * len(prompts), sampling, prompts=prompts)
    return [e.token_ids[e.action_mask].tolist() for e in episodes]


def test_the_first_round_is_what_the_engine_draws(lm: LanguageModel) -> None:
    tree = Branches(lm, TASK, width=4, max_tokens=40, policy="p")
    grown = tree.grow([(tree.root, "")], SAMPLING)
    engine = TorchEngine(lm, policy="p").generate([TASK], SAMPLING)
    for branch, episode in zip(grown, engine, strict=True):
        ours = tree.episode(branch)
        assert np.array_equal(ours.token_ids, episode.token_ids)
        assert np.array_equal(ours.action_mask, episode.action_mask)
        np.testing.assert_allclose(ours.logprobs, episode.logprobs, atol=1e-4)
        assert (ours.completion, ours.outcome) == (episode.completion, episode.outcome)


def test_words_are_forced_after_what_was_kept_and_drawing_goes_on_as_from_the_start(lm: LanguageModel) -> None:
    tree = Branches(lm, TASK, width=8, max_tokens=80)
    first = tree.grow([(tree.root, "see ")], SAMPLING)
    assert all(b.text.startswith("see ") for b in first)
    parents = [first[2], first[0]]
    starts = [(p, p.text[: len(p.text) // 2] + " = `") for p in parents]
    second = tree.grow(starts, SAMPLING)
    befores = [drawn(b)[0] for b in second]
    assert befores[0] == befores[1] == befores[3] != befores[4]
    for branch, (parent, text) in zip(second, [s for s in starts for _ in range(4)], strict=True):
        assert branch.text.startswith(text)
        kept = int(np.argmin(branch.actions[4:])) + 4 if not branch.actions[4:].all() else len(branch.tokens)
        assert branch.tokens[:kept].tolist() == parent.tokens[:kept].tolist()
    assert [drawn(b)[1] for b in second] == by_the_engine(lm, tree, [befores[0], befores[4]], SAMPLING)
    third = tree.grow([(second[5], second[5].text + "!"), (second[1], second[1].text + "!")], replace(SAMPLING, seed=8))
    befores = [drawn(b)[0] for b in third]
    expected = by_the_engine(lm, tree, [befores[0], befores[4]], replace(SAMPLING, seed=8))
    assert [drawn(b)[1] for b in third] == expected


def test_what_is_no_longer_in_memory_is_computed_again(lm: LanguageModel) -> None:
    tree = Branches(lm, TASK, width=8, max_tokens=80)
    old = tree.grow([(tree.root, "see ")], SAMPLING)[1]
    tree.grow([(tree.root, "other ")], replace(SAMPLING, n=8))
    late = tree.grow([(old, old.text + "?")], SAMPLING)
    assert [drawn(b)[1] for b in late] == by_the_engine(lm, tree, [drawn(late[0])[0]], SAMPLING)


def test_what_is_kept_costs_no_step(lm: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = Branches(lm, TASK, width=4, max_tokens=80)
    long = tree.grow([(tree.root, "")], replace(SAMPLING, max_tokens=40, min_tokens=40))[0]
    steps = []
    plain = Stepper.step
    monkeypatch.setattr(Stepper, "step", lambda *a: steps.append(1) or plain(*a))  # type: ignore[func-returns-value]
    tree.grow([(long, long.text)], replace(SAMPLING, max_tokens=3, min_tokens=3))
    assert len(steps) <= 5  # two to hear the last tokens again, three to draw


def test_an_end_of_turn_is_not_kept(lm: LanguageModel) -> None:
    tree = Branches(lm, TASK, width=4, max_tokens=80)
    ends = replace(SAMPLING, max_tokens=30, stop_ids=tuple(range(2, 200)))
    ended = tree.grow([(tree.root, "so ")], ends)[0]
    assert ended.outcome == "stop"
    assert all(b.text.startswith(ended.text + ".") for b in tree.grow([(ended, ended.text + ".")], SAMPLING))


def test_other_architectures_branch_too(tiny_model: Path, tmp_path: Path) -> None:
    write_model(tmp_path, tiny_model, "GPTNeoX", rotary_pct=0.5)
    with pytest.warns(UserWarning, match="transformers"):
        lm = load(tmp_path, dtype="float32")
    tree = Branches(lm, TASK, width=4, max_tokens=60)
    first = tree.grow([(tree.root, "see ")], SAMPLING)
    second = tree.grow([(first[1], first[1].text + " and")], SAMPLING)
    assert [drawn(b)[1] for b in second] == by_the_engine(lm, tree, [drawn(second[0])[0]], SAMPLING)


def test_what_does_not_fit_is_said(lm: LanguageModel) -> None:
    with pytest.raises(InputError, match="context of 512 tokens"):
        Branches(lm, TASK, max_tokens=512)
    tree = Branches(lm, TASK, width=4, max_tokens=10)
    with pytest.raises(InputError, match="room for 4 at once"):
        tree.grow([(tree.root, ""), (tree.root, "a")], SAMPLING)
    with pytest.raises(InputError, match="longest reply of 10 tokens"):
        tree.grow([(tree.root, "many forced words")], SAMPLING)
