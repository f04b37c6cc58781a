"""What the server may change: accounts, invitations, sessions, tokens.

The ledger keeps what happened, and nothing in it is edited; these tables keep what is so now. They live beside the ledger:
in a file next to it (SQLite), or in the same database (PostgreSQL), where several servers share them. Secrets are stored as
hashes: whoever reads the tables can log in as nobody. A new column needs a migration in ``migrations/accounts``; a test
compares the two.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Boolean, Column, Connection, Float, Index, MetaData, String, Table, Text, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, OperationalError, SQLAlchemyError

from custodes.types import InputError
from custodes.web.migrate import ACCOUNTS, migrate

LOCK = 0x6465736B  # "desk": the advisory lock of whoever migrates, in PostgreSQL
COUNTING = 0x636F756E  # "coun": that of whoever counts and adds to what was counted
metadata = MetaData()

accounts = Table(
    "desk_accounts",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("name", String(80), nullable=False, unique=True),  # lower case: what a person types to log in
    Column("password", Text, nullable=False),  # argon2id, with its salt and its cost
    Column("role", String(16), nullable=False),
    Column("profile", Text, nullable=False),  # JSON: expertise, groups
    Column("created", Float, nullable=False),  # seconds since 1970, as everywhere here
    Column("disabled", Boolean, nullable=False, default=False),
)

invitations = Table(
    "desk_invitations",
    metadata,
    Column("secret", String(64), primary_key=True),  # SHA-256
    Column("role", String(16), nullable=False),
    Column("profile", Text, nullable=False),
    Column("by", String(32), nullable=False),
    Column("expires", Float, nullable=False),
    Column("used_by", String(32)),
)

sessions = Table(
    "desk_sessions",
    metadata,
    Column("secret", String(64), primary_key=True),  # SHA-256
    Column("account", String(32), nullable=False, index=True),
    Column("csrf", String(64), nullable=False),
    Column("created", Float, nullable=False),
    Column("seen", Float, nullable=False),
)

tokens = Table(
    "desk_tokens",
    metadata,
    Column("secret", String(64), primary_key=True),  # SHA-256
    Column("id", String(32), nullable=False, unique=True),
    Column("account", String(32), nullable=False, index=True),
    Column("name", String(80), nullable=False),
    Column("scopes", Text, nullable=False),  # separated by blanks
    Column("created", Float, nullable=False),
    Column("expires", Float, nullable=False),
)

failures = Table(
    "desk_failures",
    metadata,
    Column("key", String(160), nullable=False),  # what is limited: an account's name, an address
    Column("at", Float, nullable=False),
    Index("desk_failures_key", "key", "at"),
)

devices = Table(
    "desk_devices",  # browsers in which an account has been signed in
    metadata,
    Column("secret", String(64), primary_key=True),  # SHA-256
    Column("account", String(32), nullable=False, index=True),
    Column("expires", Float, nullable=False),
)

identities = Table(
    "desk_identities",  # whom an OpenID Connect provider knows as whom
    metadata,
    Column("issuer", String(500), primary_key=True),
    Column("subject", String(255), primary_key=True),
    Column("account", String(32), nullable=False),
)


class Store:
    """The tables, at a SQLite file or a PostgreSQL URL; brought to their newest format."""

    def __init__(self, where: str | Path) -> None:
        """Raises InputError where the database cannot be reached or written."""
        url = f"sqlite:///{where}" if isinstance(where, Path) or "://" not in where else where
        try:
            parsed = make_url(url)
        except ArgumentError:
            raise InputError(f"{where!r} is not a URL; write postgresql://user:password@host:port/database.") from None
        self.name = parsed.render_as_string(hide_password=True)
        self._lite = parsed.get_backend_name() == "sqlite"
        if self._lite:
            create_private(parsed.database)
        else:
            parsed = parsed.set(drivername="postgresql+psycopg")
        try:
            self._engine = create_engine(parsed, connect_args={"timeout": 60} if self._lite else {})
            if self._lite:
                event.listen(self._engine, "connect", _careful)
            with self._engine.begin() as connection:
                connection.exec_driver_sql("BEGIN IMMEDIATE" if self._lite else f"SELECT pg_advisory_xact_lock({LOCK})")
                migrate(connection, ACCOUNTS, self.name)
        except ModuleNotFoundError:
            raise InputError(
                "PostgreSQL needs psycopg, which is not installed: pip install 'custodes[postgres]'."
            ) from None
        except SQLAlchemyError as error:
            why = str(getattr(error, "orig", error)).split("\n")[0]
            raise InputError(f"{self.name} cannot be used for the server's accounts: {why}.") from None

    @contextmanager
    def writing(self, alone: bool = False) -> Iterator[Connection]:
        """A transaction; durable when the block has ended, undone where it raises. ``alone``: no other such one meanwhile."""
        with self._explained(), self._engine.begin() as connection:
            if self._lite:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            elif alone:
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({COUNTING})")
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection to read from."""
        with self._explained(), self._engine.connect() as connection:
            yield connection

    def rows(self, query: Any) -> list[Any]:
        with self.reading() as connection:
            return list(connection.execute(query))

    def execute(self, *statements: Any) -> int:
        """All of the statements or none; how many rows they changed."""
        with self.writing() as connection:
            return sum(connection.execute(statement).rowcount for statement in statements)

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OperationalError as error:
            why = str(error.orig).split("\n")[0]
            raise InputError(f"{self.name} cannot take this now: {why}.") from None


def create_private(path: str | Path | None) -> None:
    """Makes the file of a new SQLite database, which nobody but its owner may read; its other files take after it."""
    if path and str(path) != ":memory:":
        with suppress(OSError):  # SQLite says what is wrong
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def _careful(connection, _) -> None:  # type: ignore[no-untyped-def]
    """SQLite: readers do not wait for a writer, a commit survives a power cut, and transactions are begun by hand."""
    connection.isolation_level = None
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
