"""Tests that run code need bubblewrap."""

import pytest
from bubblewrap import missing


@pytest.fixture(scope="session")
def sandboxes() -> None:
    if reason := missing():
        pytest.skip(reason)
