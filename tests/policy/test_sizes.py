from __future__ import annotations

from pathlib import Path

import pytest
from tiny_policy import adapted

from custodes.lm.loading import load
from custodes.policy import sizes
from custodes.policy.sizes import learning_rate_for, micro_tokens_for


def test_micro_batches_are_halved_until_they_fit_a_quarter_of_the_memory(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = adapted(tiny_model)
    assert micro_tokens_for(lm) == 2048
    fitting = []
    for memory in range(30, 10, -1):  # powers of two, from 1 GB down
        monkeypatch.setattr(sizes, "total_memory", lambda device, memory=memory: 2**memory)
        fitting.append(micro_tokens_for(lm))
    assert list(dict.fromkeys(fitting)) == [2048, 1024, 512, 256]  # smaller ones would take for ever
    assert [fitting.count(n) for n in (1024, 512)] == [1, 1]  # half of the memory is half of the tokens


def test_layers_that_do_not_learn_leave_nothing_behind(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    upper_half, all_layers = adapted(tiny_model), load(tiny_model, dtype="float32")
    fitting = set()
    for memory in range(30, 10, -1):
        monkeypatch.setattr(sizes, "total_memory", lambda device, memory=memory: 2**memory)
        fitting.add((micro_tokens_for(all_layers), micro_tokens_for(upper_half)))
    assert fitting == {(2048, 2048), (1024, 2048), (512, 1024), (256, 512), (256, 256)}
    assert learning_rate_for(upper_half) == pytest.approx(40 * learning_rate_for(all_layers))
