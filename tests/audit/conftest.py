"""Ledgers that the audit reads: a complete made-up run, and an empty one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from made_up_run import build_run

from custodes.ledger import Ledger


@pytest.fixture(scope="session")
def recorded_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Ledger, str]]:
    """(ledger, run id) of a complete run with both arms; tests only read it."""
    with Ledger.open(tmp_path_factory.mktemp("ledger") / "ledger.db") as ledger:
        yield ledger, build_run(ledger)


@pytest.fixture
def empty_run(tmp_path: Path) -> Iterator[tuple[Ledger, str]]:
    """(ledger, run id) of a run that recorded nothing but its start."""
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        yield ledger, ledger.start_run("quickstart", {}, seed=1)
