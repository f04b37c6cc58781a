"""Tests that need a sandbox say so."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from chat_server import Server
from serving import serving

from custodes.environments.sandbox import open_sandbox
from custodes.types import InputError


@pytest.fixture(scope="session")
def sandboxed() -> None:
    """Skips where no sandbox works: commands of policies never run on the bare host."""
    try:
        open_sandbox({}).close()
    except InputError as error:
        pytest.skip(str(error))


@pytest.fixture
def server() -> Iterator[Server]:
    """A chat server at work, whose answers the test decides."""
    with serving(Server()) as made:
        yield made
