"""The server's tables: made by migrations alone, and brought up from every earlier format with what is in them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, create_engine, inspect, text
from web_server import PASSWORD, Clock, Server, better_left

from custodes.types import InputError
from custodes.web import schema, store
from custodes.web.database import ServerDatabase, _accounts_beside
from custodes.web.migrate import ACCOUNTS, WORK, TableSet

NEXT = "/projects/helpfulness/next"


def engines(where: str) -> dict[str, Engine]:
    """To the tables of work and to those of accounts."""

    def engine(place: str) -> Engine:
        return create_engine(
            place.replace("postgresql:", "postgresql+psycopg:") if "://" in place else f"sqlite:///{place}"
        )

    return {"work": engine(where), "accounts": engine(str(_accounts_beside(where)))}


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return str(tmp_path / "custodes.db")
    return request.getfixturevalue("postgres_server").new_database()


def test_fresh_tables_are_what_the_code_expects(where: str):
    ServerDatabase(where).close()
    for name, metadata in (("work", schema.metadata), ("accounts", store.metadata)):
        prefix = {"work": "web_", "accounts": "desk_"}[name]
        engine = engines(where)[name]
        with engine.connect() as connection:
            options = {
                "include_name": lambda found, kind, _, prefix=prefix: kind != "table" or found.startswith(prefix),
                "version_table": {"work": WORK, "accounts": ACCOUNTS}[name].version_table,
            }
            context = MigrationContext.configure(connection, opts=options)
            assert compare_metadata(context, metadata) == []
        engine.dispose()


def test_work_goes_on_in_tables_of_release_0_1(where: str):
    first = Server(where)
    first.project()
    ann = first.person("ann")
    item = ann.call("POST", NEXT).json()["item"]
    with first.database.writing() as connection:  # the later migrations change rows, and no table
        connection.execute(text("UPDATE web_version SET version_num = '0006'"))
        connection.execute(text("DELETE FROM web_members"))
    first.database.close()
    with pytest.warns(UserWarning, match="1 project that had no members stays open"):
        again = Server(where)
    client = again.client()
    signed = client.post("/api/sign-in", json={"name": "ann", "password": PASSWORD})
    client.headers["X-CSRF-Token"] = signed.json()["csrf"]
    ann.client = client
    assert ann.call("POST", NEXT).json()["item"] == item
    assert better_left(ann, item).status_code == 201
    assert again.database.run == first.database.run
    assert again.database.ledger.verify().ok
    again.database.close()
    for name, tables in (("work", WORK), ("accounts", ACCOUNTS)):
        assert version(where, name, tables) == tables.versions[-1]


def test_servers_that_start_together_migrate_once(where: str):
    with ThreadPoolExecutor(4) as pool:
        opened = list(pool.map(lambda _: ServerDatabase(where, Clock()), range(4)))
    assert len({database.run for database in opened}) == 1
    for database in opened:
        database.close()


@pytest.mark.parametrize(
    ("format", "says"), [("9999", "format 9999 .* upgrade custodes"), ("0002", "format 0002 .* release 0.1 first")]
)
def test_tables_of_a_newer_version_and_of_none_that_was_released_are_left_alone(where: str, format: str, says: str):
    ServerDatabase(where).close()
    for name, tables in (("work", WORK), ("accounts", ACCOUNTS)):
        engine = engines(where)[name]
        with engine.begin() as connection:
            connection.execute(text(f"UPDATE {tables.version_table} SET version_num = '{format}'"))
        with pytest.raises(InputError, match=says):
            ServerDatabase(where)
        with engine.begin() as connection:
            assert inspect(connection).has_table(tables.first)
            connection.execute(text(f"UPDATE {tables.version_table} SET version_num = '{tables.versions[-1]}'"))
        engine.dispose()
    ServerDatabase(where).close()


@pytest.mark.parametrize("tables", [WORK, ACCOUNTS], ids=lambda tables: tables.name)
def test_migrations_are_numbered_without_gaps(tables: TableSet):
    numbers = [int(version) for version in tables.versions]
    assert numbers == list(range(numbers[0], numbers[-1] + 1))


def version(where: str, name: str, tables: TableSet) -> str:
    engine = engines(where)[name]
    with engine.connect() as connection:
        found = connection.scalar(text(f"SELECT version_num FROM {tables.version_table}"))
    engine.dispose()
    return str(found)
