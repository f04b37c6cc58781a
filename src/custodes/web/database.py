"""The server's whole state: the ledger, the tables of work beside it in one transaction, and the accounts.

Whatever a person is told to be done has been committed. Several server processes may work on one PostgreSQL database.
SQLite does for a team, with the accounts in a file of their own next to the ledger.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Self

from argon2 import PasswordHasher
from sqlalchemy import Connection, select
from sqlalchemy.engine import make_url

from custodes.ledger import Decision, Ledger
from custodes.types import InputError
from custodes.web.accounts import Accounts
from custodes.web.migrate import WORK, migrate
from custodes.web.schema import about
from custodes.web.store import Store, create_private

DATABASE = "custodes.db"
"""The server's database, where none is named."""


class MissingError(InputError):
    """What was named is not there, or not for whoever asks; the text is for the person."""


class ServerDatabase:
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
        self.writing, self.beside, self.reading = self.ledger.writing, self.ledger.beside, self.ledger.reading
        self.name = str(where) if "://" not in str(where) else make_url(str(where)).render_as_string(hide_password=True)
        self.clock = clock
        try:
            with self.writing() as connection:
                migrate(connection, WORK, self.name)
            self.run = self.run_of("serve", "run")
            self._accounts_store = Store(_accounts_beside(where))
        except BaseException:
            self.ledger.close()
            raise
        self.accounts = Accounts(self._accounts_store, clock, hasher)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._accounts_store.close()
        self.ledger.close()

    def log_access(self, what: str, who: str, why: str, connection: Connection | None = None) -> None:
        """Who did what, or was not let in: a decision of the server, in the ledger."""
        entry = Decision(id=f"access-{uuid.uuid4().hex}", what=f"access: {what}", why=why, subject=who)
        self.ledger.write(self.run, [entry], connection=connection)

    def run_of(self, recipe: str, key: str) -> str:
        """The id of the one run of ``recipe`` in this database, started when it is first asked for."""
        stored = select(about.c.value).where(about.c.key == key)
        with self.reading() as connection:
            if (known := connection.scalar(stored)) is not None:
                return str(known)
        run = self.ledger.start_run(recipe, {}, seed=0)
        with self.writing() as connection:  # of several processes that start together, one gives its run to all
            first = connection.scalar(stored)
            if first is None:
                connection.execute(about.insert().values(key=key, value=run))
        return str(first or run)


def _accounts_beside(where: str | Path) -> str | Path:
    """Where the accounts of a ledger are: next to its file, or in the same PostgreSQL database."""
    text = str(where)
    if "://" not in text:
        return Path(f"{text}.accounts")
    return Path(text.removeprefix("sqlite:///") + ".accounts") if text.startswith("sqlite:") else text


def to_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)
