"""Preference pairs that a tiny model can learn, and that model."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_up_rewards import make_pairs

from custodes.lm.loading import LanguageModel, load
from custodes.types import PreferencePair


@pytest.fixture
def lm(tiny_model: Path) -> LanguageModel:
    return load(tiny_model, dtype="float32")


@pytest.fixture
def pairs() -> list[PreferencePair]:
    return make_pairs(24)
