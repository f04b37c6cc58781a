"""Tests that run code need bubblewrap; folders of critics that know nothing yet."""

from pathlib import Path

import pytest
from bubblewrap import missing


@pytest.fixture(scope="session")
def sandboxes() -> None:
    if reason := missing():
        pytest.skip(reason)


@pytest.fixture(scope="session")
def tiny_scorer(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a scorer of lines that was never trained."""
    from custodes.critic.lines import new_line_scorer
    from custodes.lm.adapter import AdapterConfig
    from custodes.lm.loading import load

    folder = tmp_path_factory.mktemp("scorer")
    new_line_scorer(load(tiny_model, adapter=AdapterConfig(rank=2), dtype="float32")).save(folder)
    return folder


@pytest.fixture(scope="session")
def tuned(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What critic tune leaves: an adapter that writes and a reward, neither trained."""
    from custodes.lm.adapter import Adapter, AdapterConfig
    from custodes.lm.loading import load
    from custodes.reward import RewardModel, save_reward
    from custodes.reward.model import new_heads

    folder, lm = tmp_path_factory.mktemp("tuned"), load(tiny_model, dtype="float32")
    Adapter(lm.decoder, AdapterConfig(rank=2)).save(folder / "rl", lm.name)
    save_reward(RewardModel(lm, new_heads([0], lm.decoder.spec.hidden, lm.decoder.device)), folder / "reward")
    return folder
