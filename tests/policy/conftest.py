from __future__ import annotations

from pathlib import Path

import pytest
from tiny_policy import adapted

from custodes.lm.loading import LanguageModel, load


@pytest.fixture(params=["adapter", "full"])
def policy(request: pytest.FixtureRequest, tiny_model: Path) -> LanguageModel:
    return adapted(tiny_model) if request.param == "adapter" else load(tiny_model, dtype="float32")
