"""Where a ledger lives: a SQLite file, or a PostgreSQL database by URL.

Writers come one at a time (SQLite: BEGIN IMMEDIATE; PostgreSQL: an advisory lock), readers never wait.
When a write transaction has ended its rows survive a killed process and a power cut (SQLite: write-ahead
log with synchronous=FULL; PostgreSQL: synchronous_commit).
"""

from __future__ import annotations

import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import Connection, Engine, QueuePool, create_engine, inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError

from custodes.ledger.guards import SQLITE
from custodes.ledger.migrating import run_migrations
from custodes.ledger.schema import FORMAT, READABLE, VERSION_TABLE
from custodes.types import InputError

PATIENCE = 60
"""Seconds to wait for another writer to finish."""

READERS = 3
"""Seconds to wait for readers, who may stay for ever, before a write-ahead log cannot be emptied."""

LOCK = 0x637573746F646573  # "custodes": the advisory lock's number in PostgreSQL


class LedgerDatabase:
    """One ledger's tables, brought to the current format when opened for writing."""

    def __init__(self, where: str | Path, read_only: bool = False) -> None:
        """Open ``where``, a file's path or a URL.

        Raises InputError where it cannot be reached, read or written, or holds something else.
        """
        self.read_only = read_only
        self._turn = threading.Lock()  # of this process's writers: who waits here holds no connection
        self._path, url = _locate(where)
        self.name = str(self._path) if self._path else url.render_as_string(hide_password=True)
        self._engine = self._sqlite(self._path) if self._path else self._postgresql(url)
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one state of the ledger throughout."""
        with self._explained(), self._engine.connect() as connection, connection.begin():
            if self._path:
                connection.exec_driver_sql("BEGIN")
            else:
                connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that no other writer can come between; durable when the block has ended."""
        with self._turn, self._changing(f"pg_advisory_xact_lock({LOCK}), ") as connection:
            yield connection

    @contextmanager
    def beside(self) -> Iterator[Connection]:
        """A durable transaction that waits for no other: for single statements on rows that are kept beside the log."""
        with self.writing() if self._path else self._changing() as connection:  # SQLite has one writer at a time
            yield connection

    @contextmanager
    def rewriting(self) -> Iterator[Connection]:
        """A writing transaction in which rows of the log may be edited: its triggers are away until the block has ended."""
        with self.writing() as connection:
            if self._path:
                connection.exec_driver_sql("PRAGMA secure_delete = ON")
                connection.exec_driver_sql("DROP TRIGGER log_no_update")
                yield connection
                connection.exec_driver_sql(f"CREATE TRIGGER log_no_update {SQLITE['log_no_update']}")
            else:
                connection.exec_driver_sql("ALTER TABLE log DISABLE TRIGGER log_append_only")
                yield connection
                connection.exec_driver_sql("ALTER TABLE log ENABLE TRIGGER log_append_only")

    def wipe(self) -> str | None:
        """Write the tables anew, so that no free page or dead row holds what was edited away; a sentence where that failed.

        SQLite: VACUUM, and the write-ahead log is emptied. PostgreSQL: VACUUM FULL of the log; its own write-ahead log
        and its archives are the server's.
        """
        with self._turn, self._explained(), self._engine.connect() as connection:
            if not self._path:
                connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql("VACUUM (FULL) log")
                return None
            connection.exec_driver_sql("PRAGMA secure_delete = ON").close()
            _empty_log(connection)
            connection.exec_driver_sql("VACUUM").close()
            emptied = _empty_log(connection)
        if emptied:
            return None
        return f"another process reads {self.name}, so its write-ahead log still holds what was withdrawn; end it and run this again."

    def settle(self) -> None:
        """Close a SQLite file so that it stands alone: no write-ahead log is made beside it when it is read."""
        with self._explained(), self._engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode = DELETE")
        self.close()

    @contextmanager
    def _changing(self, lock: str = "") -> Iterator[Connection]:
        if self.read_only:
            raise InputError(f"{self.name} was opened for reading only; open it for writing to add to it.")
        with self._explained(), self._engine.connect() as connection, connection.begin():
            if self._path:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            else:
                connection.exec_driver_sql(
                    f"SELECT {lock}CASE current_setting('synchronous_commit')"
                    " WHEN 'off' THEN set_config('synchronous_commit', 'on', true) END"
                )
            yield connection

    def close(self) -> None:
        self._engine.dispose()

    # ------------------------------------------------------------ opening

    def _sqlite(self, path: Path) -> Engine:
        """Connections to ``path``; for reading only, nothing is created and the disk may be write-protected."""
        if path.is_dir():
            raise InputError(f"{path} is a folder; name the ledger's file, such as {path / 'ledger.db'}.")
        if self.read_only:
            if not path.exists():
                raise InputError(f"there is no ledger at {path}.")
            options = "mode=rw" if _writable(path) else "mode=ro&immutable=1"
        else:
            options = "mode=rwc"
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise InputError(f"the folder {path.parent} cannot be made: {error.strerror}.") from None

        def connect() -> sqlite3.Connection:
            connection = _connect(path, options)
            try:
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute(f"PRAGMA query_only = {int(self.read_only)}")
            except sqlite3.Error:
                connection.close()
                raise
            return connection

        return create_engine("sqlite://", creator=connect, poolclass=QueuePool)

    def _postgresql(self, url: URL) -> Engine:
        if "connect_timeout" not in url.query:
            url = url.update_query_dict({"connect_timeout": "10"})
        try:
            return create_engine(url)
        except ModuleNotFoundError:
            raise InputError(
                "a ledger in PostgreSQL needs psycopg, which is not installed: pip install 'custodes[postgres]'."
            ) from None

    def _prepare(self) -> None:
        """Check what is there; create or migrate it when it may be written."""
        with self.reading() as connection:
            found = self._format(connection)
        if self.read_only:
            if found is None:
                raise InputError(f"{self.name} is not a ledger: it is empty.")
            if found not in READABLE:
                raise InputError(
                    f"{self.name} has ledger format {found} and this version of custodes reads {', '.join(READABLE)}; "
                    "read it with a newer version."
                )
            return
        if self._path:
            self._write_ahead()
        if found != FORMAT:
            with self.writing() as connection:
                self._migrate(connection)

    def _format(self, connection: Connection) -> str | None:
        """The newest migration that was run; None in an empty database. Raises InputError if it is no ledger."""
        tables = set(inspect(connection).get_table_names())
        if not tables:
            return None
        if not {"log", "head", VERSION_TABLE} <= tables:
            raise InputError(
                f"{self.name} is not a ledger: it holds other tables ({', '.join(sorted(tables)[:5])}); "
                "name a ledger, or a file or database that is empty."
            )
        return connection.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}"))

    def _write_ahead(self) -> None:
        """Switch the file to write-ahead logging. SQLite does not wait for others here, so we do."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                with self._explained(), self._engine.connect() as connection:
                    connection.exec_driver_sql("PRAGMA journal_mode = WAL")
                return
            except _LockedError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def _migrate(self, connection: Connection) -> None:
        """Run the migrations that are missing: none where another process came first."""
        from alembic.util import CommandError  # half a second to import, and needed once in a ledger's life

        try:
            run_migrations(connection, Path(__file__).parent / "migrations")
        except CommandError:
            raise InputError(
                f"{self.name} was written by a newer version of custodes (this one knows format {FORMAT}); upgrade."
            ) from None

    # ------------------------------------------------------------ errors

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what a database says about its surroundings into a sentence for the person who can change them."""
        try:
            yield
        except DBAPIError as error:
            lost = "08000" if isinstance(error, OperationalError) else ""  # psycopg gives no code without a server
            raise (self._explain(str(error.orig), getattr(error.orig, "sqlstate", None) or lost) or error) from None
        except sqlite3.Error as error:
            raise (self._explain(str(error), "") or error) from None

    def _explain(self, said: str, state: str) -> InputError | None:
        if (
            "is full" in said
            or state == "53100"
            or ("disk I/O" in said and self._path and shutil.disk_usage(self._path.parent).free < 1 << 20)
        ):
            return InputError(
                f"disk full: {self.name} could not take this write; everything written before is safe. "
                "Free some space and run again."
            )
        if "locked" in said or "busy" in said:
            return _LockedError(
                f"{self.name} is held by another writer for more than {PATIENCE} seconds; end it first."
            )
        if "readonly" in said or "unable to open" in said or state == "25006":
            return InputError(f"{self.name} cannot be written: it or its folder is read-only or may not be entered.")
        if "not a database" in said:
            return InputError(f"{self.name} is not a ledger: it is not a SQLite database.")
        if "malformed" in said or "decode to UTF-8" in said:
            return InputError(f"{self.name} is damaged ({said}); restore it from a copy.")
        first = said.split("\n")[0].rstrip(".")
        if state == "42501":
            return InputError(f"{self.name} does not let this user in: {first}.")
        if not self._path and state[:2] in ("08", "28", "3D", "57"):
            return InputError(f"{self.name} cannot be reached: {first}.")
        return None


class _LockedError(InputError):
    """Another writer holds the ledger."""


def _locate(where: str | Path) -> tuple[Path | None, URL]:
    """(path, URL) of a ledger; the path is None where it is not a file."""
    if isinstance(where, Path) or "://" not in where:
        return Path(where), URL.create("sqlite")
    try:
        url = make_url(where)
    except (ArgumentError, ValueError):
        raise InputError(f"{where!r} is not a URL; write postgresql://user:password@host:port/database.") from None
    scheme = url.get_backend_name()
    if scheme == "sqlite":
        if url.database in (None, "", ":memory:"):
            raise InputError(f"{where!r} names no file; a ledger is kept, so write sqlite:///path/to/ledger.db.")
        return Path(str(url.database)), url
    if scheme in ("postgresql", "postgres"):
        return None, url.set(drivername="postgresql+psycopg")
    raise InputError(
        f"a ledger cannot live at a {scheme}:// URL; give a file's path, sqlite:///path or postgresql://host/database."
    )


def _connect(path: Path, options: str) -> sqlite3.Connection:
    """A connection whose transactions are begun by hand."""
    return sqlite3.connect(
        f"file:{quote(str(path.absolute()))}?{options}",
        uri=True,
        timeout=PATIENCE,
        isolation_level=None,
        check_same_thread=False,
    )


def _writable(path: Path) -> bool:
    """Whether SQLite can open the file with its write-ahead log, for which the folder must be writable."""
    try:
        connection = _connect(path, "mode=rw")
        try:
            connection.execute("SELECT count(*) FROM sqlite_master")
        finally:
            connection.close()
    except sqlite3.OperationalError:
        return False
    except sqlite3.DatabaseError:
        pass  # no database at all: opening it says so
    return True


def _empty_log(connection: Connection) -> bool:
    """Write SQLite's write-ahead log into the file and empty it; whether that went, since nobody may read meanwhile."""
    connection.exec_driver_sql(f"PRAGMA busy_timeout = {1000 * READERS}").close()
    try:
        return not connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").scalar()
    finally:
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {1000 * PATIENCE}").close()
