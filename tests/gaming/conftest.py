"""Tests that need a sandbox say so."""

from __future__ import annotations

import pytest

from custodes.environments.sandbox import open_sandbox
from custodes.types import InputError


@pytest.fixture(scope="session")
def sandboxed() -> None:
    """Skips where no sandbox works: commands of policies never run on the bare host."""
    try:
        open_sandbox({}).close()
    except InputError as error:
        pytest.skip(str(error))
