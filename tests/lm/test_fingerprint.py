"""The fingerprint is always that of the weights that act."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from custodes.lm.adapter import AdapterConfig
from custodes.lm.engine import TorchEngine
from custodes.lm.loading import LanguageModel, hash_tensors, load
from custodes.types import Message, Sampling, Task


@pytest.fixture
def lm(tiny_model: Path) -> LanguageModel:
    return load(tiny_model, dtype="float32")


def step(lm: LanguageModel) -> None:
    master = lm.decoder.train_all()[0]
    with torch.no_grad():
        master.add_(0.1)
    lm.decoder.refresh()  # and not the model's own refresh


def in_place(lm: LanguageModel) -> None:
    lm.decoder.norm.value.add_(0.1)


def past_the_counter(lm: LanguageModel) -> None:
    lm.decoder.layers[0].weights["qkv"].value.data[0, 0] += 0.1


def as_array(lm: LanguageModel) -> None:
    lm.decoder.layers[0].weights["qkv"].value.numpy()[0, 0] += 0.1


def exchanged(lm: LanguageModel) -> None:
    weight = lm.decoder.norm
    weight.value = weight.value * 2


@pytest.mark.parametrize("change", [step, in_place, past_the_counter, as_array, exchanged])
@pytest.mark.parametrize("adapted", [False, True])
def test_whatever_changes_weights_changes_it(
    lm: LanguageModel, change: Callable[[LanguageModel], None], adapted: bool, tiny_model: Path
) -> None:
    lm = load(tiny_model, dtype="float32", adapter=AdapterConfig(rank=2)) if adapted else lm
    before = lm.fingerprint()
    assert lm.fingerprint() == before
    change(lm)
    after = lm.fingerprint()
    assert after != before
    base = hash_tensors(lm.decoder.state())
    assert after == (base if lm.adapter is None else hash_tensors(lm.adapter.tensors(), base))


def test_an_adapter_is_part_of_it(lm: LanguageModel, tiny_model: Path) -> None:
    adapted = load(tiny_model, dtype="float32", adapter=AdapterConfig(rank=2))
    before = adapted.fingerprint()
    next(iter(adapted.adapter.parameters())).data.add_(0.1)  # type: ignore[union-attr]
    assert adapted.fingerprint() != before
    assert replace(adapted, adapter=None).fingerprint() == lm.fingerprint()


def test_episodes_name_the_weights_that_drew_them(lm: LanguageModel) -> None:
    engine, task = TorchEngine(lm), Task("t", (Message("user", "Who?"),))
    first = engine.generate([task], Sampling(max_tokens=2))[0].policy
    in_place(lm)
    assert engine.generate([task], Sampling(max_tokens=2))[0].policy != first
