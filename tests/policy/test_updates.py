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
from custodes.policy.preferences import Preference, PreferenceConfig, preference_tune
from custodes.policy.supervised import SupervisedConfig, fine_tune
from custodes.policy.updates import EVERY, Metrics
from custodes.types import InputError

REPLIES = ("The quick brown fox.", "A lazy dog.")
Tune = Callable[[LanguageModel, Path | None], list[Metrics]]


def supervised(lm: LanguageModel, folder: Path | None, rate: float = 1e-2) -> list[Metrics]:
    config = SupervisedConfig(epochs=5, batch=2, learning_rate=rate, seed=3)
    return fine_tune(lm, [(t, REPLIES[0]) for t in some_tasks(6)], config, checkpoints=folder, progress=False)


def by_preference(lm: LanguageModel, folder: Path | None) -> list[Metrics]:
    config = PreferenceConfig(epochs=5, batch=2, learning_rate=1e-2, seed=3)
    pairs = [Preference(t, *REPLIES) for t in some_tasks(6)]
    return preference_tune(lm, pairs, config, checkpoints=folder, progress=False)


@pytest.mark.parametrize("tune", [supervised, by_preference])
def test_what_was_killed_goes_on_to_the_same_end(
    tune: Tune, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, begun, again = adapted(tiny_model), adapted(tiny_model), adapted(tiny_model)
    metrics = tune(whole, None)
    own, made = Learner.update, [0]

    def until_killed(self: Learner, *given: Any, **named: Any) -> float:
        made[0] += 1
        if made[0] == EVERY + 3:
            raise KeyboardInterrupt
        return own(self, *given, **named)

    monkeypatch.setattr(Learner, "update", until_killed)
    with pytest.raises(KeyboardInterrupt):
        tune(begun, tmp_path)
    assert len(checkpoints(tmp_path)) == 1

    monkeypatch.setattr(Learner, "update", own)
    assert tune(again, tmp_path) == metrics
    assert all(torch.equal(a, b) for a, b in zip(whole.trainable(), again.trainable(), strict=True))


def test_a_checkpoint_of_other_options_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    supervised(adapted(tiny_model), tmp_path)
    with pytest.raises(InputError, match="options differ"):
        supervised(adapted(tiny_model), tmp_path, rate=2e-2)
