"""Tuning that is killed ends where a whole run would, and takes no checkpoint of another run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_policy import adapted, some_tasks

from custodes.lm.checkpoint import checkpoints
from custodes.lm.loading import LanguageModel
from custodes.policy.learner import Learner
from custodes.policy.methods import Dpo, Sft
from custodes.policy.tuning import tune
from custodes.train import Metrics
from custodes.types import InputError, Message, PreferencePair

REPLIES = ("The quick brown fox.", "A lazy dog.")
Tune = Callable[[LanguageModel, Path | None], list[Metrics]]


def supervised(lm: LanguageModel, folder: Path | None, rate: float = 1e-2) -> list[Metrics]:
    config = Sft(epochs=5, batch=2, learning_rate=rate, seed=3)
    return tune(lm, [(t, REPLIES[0]) for t in some_tasks(6)], config, checkpoints=folder, progress=False)


def by_preference(lm: LanguageModel, folder: Path | None) -> list[Metrics]:
    config = Dpo(epochs=5, batch=2, learning_rate=1e-2, seed=3)
    said = [(Message("assistant", text),) for text in REPLIES]
    pairs = [PreferencePair(t.messages, *said) for t in some_tasks(6)]
    return tune(lm, pairs, config, checkpoints=folder, progress=False)


@pytest.mark.parametrize("tuned", [supervised, by_preference])
def test_what_was_killed_goes_on_to_the_same_end(
    tuned: Tune, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, begun, again = adapted(tiny_model), adapted(tiny_model), adapted(tiny_model)
    metrics = tuned(whole, None)
    own, made = Learner.update, [0]

    def until_killed(self: Learner, *given: Any, **named: Any) -> float:
        made[0] += 1
        if made[0] == Sft().checkpoint_every + 3:
            raise KeyboardInterrupt
        return own(self, *given, **named)

    monkeypatch.setattr(Learner, "update", until_killed)
    with pytest.raises(KeyboardInterrupt):
        tuned(begun, tmp_path)
    assert len(checkpoints(tmp_path)) == 1

    monkeypatch.setattr(Learner, "update", own)
    assert tuned(again, tmp_path) == metrics
    assert all(torch.equal(a, b) for a, b in zip(whole.trainable(), again.trainable(), strict=True))


def test_a_checkpoint_of_other_options_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    supervised(adapted(tiny_model), tmp_path)
    with pytest.raises(InputError, match=r"another run \(learning_rate was 0.01, now 0.02\)"):
        supervised(adapted(tiny_model), tmp_path, rate=2e-2)
