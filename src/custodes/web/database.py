"""The server's whole state: the ledger, the tables of work beside it in one transaction, and the accounts.

Whatever a person is told to be done has been committed. Several server processes may work on one PostgreSQL database;
SQLite does for a team, with the accounts in a file of their own next to the ledger.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from argon2 import PasswordHasher
from sqlalchemy import Connection, select
from sqlalchemy.engine import make_url

from custodes.ledger import Decision, Ledger
from custodes.web.accounts import Accounts
from custodes.web.migrate import WORK, migrate
from custodes.web.schema import about
from custodes.web.store import Store, create_private

DATABASE = "custodes.db"
"""The server's database, where none is named."""


class MissingError(Exception):
    """What was named is not there, or not for whoever asks; the text is for the person."""


class Database:
    """An open database. ``clock`` is time in seconds since 1970, ``hasher`` that of passwords."""

    def __init__(
        self, where: str | Path, clock: Callable[[], float] = time.time, hasher: PasswordHasher | None = None
    ) -> None:
        """Opens or creates the ledger at ``where`` (file or URL) and the tables beside it.

        Raises InputError where it cannot be reached or was made by a newer version of the server.
        """
        if "://" not in str(where) or str(where).startswith("sqlite:"):
            create_private(str(where).removeprefix("sqlite:///"))
        self.ledger = Ledger.open(where)
        self.name = _without_password(where)
        self.clock = clock
        try:
            self.run = self._prepare()
            self._people = Store(_accounts_beside(where))
        except BaseException:
            self.ledger.close()
            raise
        self.accounts = Accounts(self._people, clock, hasher)

    def close(self) -> None:
        self._people.close()
        self.ledger.close()

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        with self.ledger.writing() as connection:
            yield connection

    @contextmanager
    def beside(self) -> Iterator[Connection]:
        with self.ledger.beside() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        with self.ledger.reading() as connection:
            yield connection

    def log_access(self, what: str, who: str, why: str, connection: Connection | None = None) -> None:
        """Who did what, or was not let in: a decision of the server, in the ledger."""
        entry = Decision(id=f"access-{uuid.uuid4().hex}", what=f"access: {what}", why=why, subject=who)
        self.ledger.write(self.run, [entry], connection=connection)

    def _prepare(self) -> str:
        """Brings the tables to their newest format; the id of the run that holds the access log."""
        of_server = select(about.c.value).where(about.c.key == "run")
        with self.writing() as connection:
            migrate(connection, WORK, self.name)
            known = connection.scalar(of_server)
        if known is not None:
            return str(known)
        run = self.ledger.start_run("serve", {}, seed=0)
        with self.writing() as connection:  # of several processes that start together, one gives its run to all
            found = connection.scalar(of_server)
            if found is None:
                connection.execute(about.insert().values(key="run", value=run))
        return str(found or run)


def _accounts_beside(where: str | Path) -> str | Path:
    """Where the accounts of a ledger are: next to its file, or in the same PostgreSQL database."""
    text = str(where)
    if "://" not in text:
        return Path(f"{text}.accounts")
    return Path(text.removeprefix("sqlite:///") + ".accounts") if text.startswith("sqlite:") else text


def _without_password(where: str | Path) -> str:
    """How a database is named to people."""
    return str(where) if "://" not in str(where) else make_url(str(where)).render_as_string(hide_password=True)


def to_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)
