"""Where a ledger cannot live, one sentence says so."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import postgres
import pytest
from sqlalchemy import text

from custodes.ledger import Decision, Ledger, verify_ledger
from custodes.ledger.database import LedgerDatabase
from custodes.types import InputError


@contextmanager
def refused(said: str) -> Iterator[None]:
    with pytest.raises(InputError) as error:
        yield
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_ledger_is_made_with_its_folders(tmp_path: Path) -> None:
    where = tmp_path / "runs" / "über 100% #1?" / "ledger.db"
    with Ledger.open(where) as ledger:
        ledger.start_run("test", {}, seed=0)
    assert verify_ledger(str(where)).rows == 1
    assert [p.name for p in where.parent.iterdir()] == ["ledger.db"]


def test_acknowledged_rows_are_synchronised(tmp_path: Path) -> None:
    database = LedgerDatabase(tmp_path / "ledger.db")
    with database.reading() as connection:
        assert connection.scalar(text("PRAGMA synchronous")) == 2
        assert connection.scalar(text("PRAGMA journal_mode")) == "wal"
    database.close()


def test_sqlite_url_is_a_path(tmp_path: Path) -> None:
    Ledger.open(f"sqlite:///{tmp_path}/ledger.db").close()
    assert verify_ledger(tmp_path / "ledger.db").ok


@pytest.mark.parametrize("open_it", [verify_ledger, lambda where: Ledger.open(where, read_only=True)])
def test_reading_an_absent_ledger_does_not_make_it(tmp_path: Path, open_it: Callable[[Path], object]) -> None:
    with refused(f"there is no ledger at {tmp_path}/absent/ledger.db"):
        open_it(tmp_path / "absent" / "ledger.db")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("open_it", [verify_ledger, Ledger.open])
def test_a_file_that_is_not_a_ledger_is_left_alone(tmp_path: Path, open_it: Callable[[Path], object]) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("dear diary, " * 1000)
    with refused("notes.txt is not a ledger"):
        open_it(notes)
    assert notes.read_text() == "dear diary, " * 1000
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE customers (id)")
    connection.close()
    before = other.read_bytes()
    with refused("other.db is not a ledger: it holds other tables (customers)"):
        open_it(other)
    assert other.read_bytes() == before
    assert {p.name for p in tmp_path.iterdir()} == {"notes.txt", "other.db"}
    with refused("is a folder; name the ledger's file"):
        open_it(tmp_path)


def test_an_empty_file_does_not_verify_and_can_become_a_ledger(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").touch()
    with refused("is not a ledger: it is empty"):
        verify_ledger(tmp_path / "ledger.db")
    Ledger.open(tmp_path / "ledger.db").close()
    assert verify_ledger(tmp_path / "ledger.db").ok


def test_a_damaged_file_does_not_verify(tmp_path: Path) -> None:
    where = tmp_path / "ledger.db"
    with Ledger.open(where) as ledger:
        run = ledger.start_run("test", {}, seed=0)
        ledger.write(run, (Decision(f"d{i}", "what", "why " * 20) for i in range(1000)))
    with where.open("r+b") as file:
        file.seek(where.stat().st_size // 2)
        file.write(os.urandom(8192))
    found = verify_ledger(where)
    assert found.ok is False
    assert found.problem


def test_a_ledger_of_a_newer_version_is_refused(where: str) -> None:
    Ledger.open(where).close()
    database = LedgerDatabase(where)
    with database.writing() as connection:
        connection.execute(text("UPDATE ledger_version SET version_num = '9999'"))
    database.close()
    with refused("was written by a newer version of custodes"):
        Ledger.open(where)
    with refused("has ledger format 9999"):
        verify_ledger(where)


# ---------------------------------------------------------------- addresses


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("mysql://localhost/ledger", "cannot live at a mysql:// URL"),
        ("nonsense://", "cannot live at a nonsense:// URL"),
        ("postgresql://host:port/ledger", "is not a URL"),
        ("://", "is not a URL"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
    ],
)
def test_an_address_that_no_ledger_can_have(where: str, said: str) -> None:
    with refused(said):
        Ledger.open(where)


def test_an_unreachable_database_is_named_without_its_password() -> None:
    with pytest.raises(InputError, match=r"127\.0\.0\.1:1/ledger.* cannot be reached") as error:
        Ledger.open("postgresql://user:secret@127.0.0.1:1/ledger")
    assert "secret" not in str(error.value)
    assert "\n" not in str(error.value)


def test_a_database_that_is_not_there(postgres_server: postgres.Server) -> None:
    with refused('database "nowhere" does not exist'):
        Ledger.open(postgres_server.url("nowhere"))


def test_a_database_with_other_tables_is_left_alone(postgres_server: postgres.Server) -> None:
    url = postgres_server.new_database()
    postgres_server.run("CREATE TABLE customers (id int)", url)
    with refused("is not a ledger: it holds other tables (customers)"):
        Ledger.open(url)


def test_a_user_who_may_not_create_tables(postgres_server: postgres.Server) -> None:
    url = postgres_server.new_database()
    postgres_server.run("CREATE ROLE guest LOGIN; REVOKE CREATE ON SCHEMA public FROM public", url)
    with refused("does not let this user in: permission denied"):
        Ledger.open(url.replace(f"{postgres.USER}@", "guest@"))


def test_a_server_that_went_away(postgres_server: postgres.Server) -> None:
    url = postgres_server.new_database()
    with Ledger.open(url) as ledger:
        postgres_server.run(f"DROP DATABASE {url.split('/')[3].split('?')[0]} WITH (FORCE)")
        with refused("cannot be reached"):
            ledger.start_run("test", {}, seed=0)


def test_postgresql_without_its_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)  # as if it were not installed
    with refused("needs psycopg, which is not installed: pip install 'custodes[postgres]'"):
        Ledger.open("postgresql://localhost/ledger")


# ---------------------------------------------------------------- read-only places


@pytest.fixture
def protected(tmp_path: Path) -> Iterator[Callable[[], Path]]:
    """A folder that can be written until the function is called, which gives its path."""
    folder = tmp_path / "protected"
    folder.mkdir()
    root = os.geteuid() == 0  # to whom permissions mean nothing
    if root and subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("root may not mount a tmpfs here, and no other folder is read-only to root")
    with Ledger.open(folder / "ledger.db") as ledger:
        ledger.start_run("test", {}, seed=0)

    def protect() -> Path:
        if root:
            subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
        else:
            (folder / "ledger.db").chmod(0o444)
            folder.chmod(0o555)
        return folder

    yield protect
    if root:
        subprocess.run(["umount", folder], check=True)
    else:
        folder.chmod(0o755)


def test_a_ledger_in_a_read_only_folder_can_be_verified_and_read(protected: Callable[[], Path]) -> None:
    where = protected() / "ledger.db"
    assert verify_ledger(where).rows == 1
    with Ledger.open(where, read_only=True) as ledger:
        assert len(ledger.runs()) == 1


def test_a_ledger_cannot_be_written_in_a_read_only_folder(protected: Callable[[], Path]) -> None:
    folder = protected()
    with refused("read-only"):
        Ledger.open(folder / "new.db")
    with refused("folder " + str(folder / "sub") + " cannot be made"):
        Ledger.open(folder / "sub" / "new.db")
    with refused("read-only"), Ledger.open(folder / "ledger.db") as ledger:
        ledger.start_run("test", {}, seed=1)
