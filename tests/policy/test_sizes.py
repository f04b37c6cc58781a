from __future__ import annotations

from pathlib import Path

import pytest
from tiny_policy import adapted

from custodes.lm.loading import load
from custodes.policy import sizes
from custodes.policy.sizes import activation_bytes, learning_rate_for, micro_tokens_for


def test_micro_batches_are_halved_until_they_fit_a_quarter_of_the_memory(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = adapted(tiny_model)
    assert micro_tokens_for(lm) == 2048
    for tokens in (1024, 512):
        monkeypatch.setattr(sizes, "total_memory", lambda device, n=tokens: 4 * n * activation_bytes(lm))
        assert micro_tokens_for(lm) == tokens
    monkeypatch.setattr(sizes, "total_memory", lambda device: 1)
    assert micro_tokens_for(lm) == 256  # smaller ones would take for ever


def test_layers_that_do_not_learn_leave_nothing_behind(tiny_model: Path) -> None:
    upper_half, all_layers = adapted(tiny_model), load(tiny_model, dtype="float32")
    assert 2 * activation_bytes(upper_half) == activation_bytes(all_layers)
    assert learning_rate_for(upper_half) == pytest.approx(40 * learning_rate_for(all_layers))
