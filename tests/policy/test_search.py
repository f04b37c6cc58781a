from __future__ import annotations

from pathlib import Path

import pytest
from tiny_policy import EvenTokens, some_tasks

from custodes.lm.engine import TorchEngine
from custodes.lm.loading import load
from custodes.policy.search import best_of_n
from custodes.types import InputError, Sampling


def test_best_of_n_takes_the_best_of_the_first_k_of_each_task(tiny_model: Path) -> None:
    engine, tasks, reward = TorchEngine(load(tiny_model, dtype="float32")), some_tasks(3), EvenTokens()
    found = best_of_n(engine, tasks, reward, 5, Sampling(max_tokens=6, seed=2))
    assert found.values().shape == (3, 5)
    for k in range(1, 6):
        chosen = found.chosen(k)
        assert [e.task.id for e in chosen] == [t.id for t in tasks]
        assert reward.score(chosen).value.tolist() == found.values()[:, :k].max(1).tolist()
    assert [e.id for e in found.chosen()] == [e.id for e in found.chosen(5)]
    with pytest.raises(InputError, match="best of 6"):
        found.chosen(6)
