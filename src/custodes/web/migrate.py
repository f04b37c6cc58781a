"""Brings the server's tables to the format of this version: those of work beside the ledger, and those of accounts.

Each set has its migrations in a folder under ``migrations/``, the tables of release 0.1 first, and a table that names the
newest one that was run. A new or changed table in ``schema.py`` or ``store.py`` needs a migration with the next number: that
is the only way in which tables come to be.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Connection, inspect, text

from custodes.ledger.migrating import run_migrations
from custodes.types import InputError

FOLDER = Path(__file__).parent / "migrations"


class TableSet(NamedTuple):
    """A set of tables: the folder of its migrations, the table of its version, and one of the tables."""

    name: str
    version_table: str
    first: str

    @property
    def versions(self) -> list[str]:
        return sorted(path.name[:4] for path in (FOLDER / self.name).glob("[0-9]*.py"))


WORK = TableSet("work", "web_version", "web_about")
ACCOUNTS = TableSet("accounts", "desk_version", "desk_accounts")


def migrate(connection: Connection, tables: TableSet, where: str) -> None:
    """Runs the migrations of ``tables`` that are missing, in the transaction of ``connection``.

    ``where`` names the database in errors. Raises InputError where a newer version made the tables, or one before 0.1.
    """
    there, versions = inspect(connection), tables.versions
    version = "0000" if there.has_table(tables.first) else None
    if there.has_table(tables.version_table):
        version = connection.scalar(text(f"SELECT version_num FROM {tables.version_table}"))
    if version == versions[-1]:
        return
    if version is not None and version not in versions:
        remedy = "upgrade custodes" if version > versions[-1] else "open them with release 0.1 first"
        known = f"this version of custodes knows {versions[0]} to {versions[-1]}"
        raise InputError(f"the server's tables in {where} have format {version} and {known}; {remedy}.")
    run_migrations(connection, FOLDER, FOLDER / tables.name, {"version_table": tables.version_table})
