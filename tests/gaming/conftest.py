"""Tests that need a sandbox say so."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from chat_server import Server

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
    with Server() as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield made
        made.shutdown()
