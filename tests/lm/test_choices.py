"""How likely a model finds given replies, against what ``transformers`` says of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from custodes.lm.choices import choice_logprobs, yes_probability
from custodes.lm.engine import TorchEngine
from custodes.lm.loading import load
from custodes.types import Message, Task

TASKS = [Task(str(i), (Message("user", text),)) for i, text in enumerate(("Is water wet?", "Is it?", "Is water wet?"))]


@pytest.fixture(scope="module")
def engine(tiny_model: Path) -> TorchEngine:
    return TorchEngine(load(tiny_model, dtype="float32"))


def test_replies_are_as_likely_as_transformers_finds_them(engine: TorchEngine) -> None:
    replies = ("Yes", "No", "the quick brown fox")
    found = choice_logprobs(engine, TASKS, replies)
    theirs = AutoModelForCausalLM.from_pretrained(engine.lm.folder, dtype=torch.float32)
    for i, task in enumerate(TASKS):
        prompt = engine.lm.encode(task.messages)
        for k, reply in enumerate(replies):
            whole = engine.lm.encode(task.messages, reply)
            with torch.no_grad():
                logp = theirs(torch.from_numpy(whole[None].astype(np.int64))).logits[0].log_softmax(-1)
            places = range(len(prompt), len(whole))
            assert found[i, k] == pytest.approx(sum(float(logp[j - 1, whole[j]]) for j in places), abs=1e-3)


def test_yes_is_weighed_against_no_alone(engine: TorchEngine) -> None:
    yes, no = np.exp(choice_logprobs(engine, TASKS, ("Yes", "No"))).T
    np.testing.assert_allclose(yes_probability(engine, TASKS), yes / (yes + no))
    assert len(yes_probability(engine, [])) == 0
