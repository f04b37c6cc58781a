"""Servers on SQLite; those tests that take ``anywhere`` run on PostgreSQL too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import postgres
import pytest
from web_server import Server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(str(tmp_path / "custodes.db"))
    yield made
    made.database.close()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.Server]:
    try:
        with postgres.server() as running:
            yield running
    except postgres.Unavailable as reason:
        pytest.skip(f"no PostgreSQL here: {reason}")


@pytest.fixture
def postgresql(postgres_server: postgres.Server) -> Iterator[Server]:
    made = Server(postgres_server.new_database())
    yield made
    made.database.close()


@pytest.fixture(params=["server", "postgresql"])
def anywhere(request: pytest.FixtureRequest) -> Server:
    return request.getfixturevalue(request.param)
