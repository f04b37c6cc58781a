"""Sandboxes for the tests, of bubblewrap; skipped where it cannot be installed or the kernel forbids it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import bubblewrap
import pytest

from custodes.environments.sandbox import Sandbox, open_sandbox
from custodes.environments.sandbox.bubblewrap import _fork_server
from custodes.types import InputError


@pytest.fixture(scope="session")
def _bubblewrap() -> None:
    if why := bubblewrap.missing():
        pytest.skip(why)
    try:
        _fork_server()
    except InputError as error:
        if "user namespaces" not in str(error):
            raise
        pytest.skip(str(error))


@pytest.fixture
def opened(_bubblewrap: None) -> Iterator[Callable[..., Sandbox]]:
    """``open_sandbox`` whose sandboxes are closed after the test."""
    made: list[Sandbox] = []

    def opening(*arguments: object, **named: object) -> Sandbox:
        made.append(open_sandbox(*(arguments or ({},)), kind="bubblewrap", **named))  # type: ignore[arg-type]
        return made[-1]

    yield opening
    for sandbox in made:
        sandbox.close()
