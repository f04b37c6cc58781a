"""A ledger rewritten with every hash computed anew is found out by a head that was kept elsewhere."""

from __future__ import annotations

import json
from pathlib import Path

import postgres
import pytest
from sqlalchemy import text

from custodes.cli import main
from custodes.feedback.kinds.comparison import Comparison
from custodes.ledger import Ledger, verify_ledger
from custodes.ledger.chain import GENESIS, hash_row
from custodes.ledger.checking import check_ledger
from custodes.ledger.database import LedgerDatabase
from custodes.ledger.heads import append_head, make_key, read_heads, read_private_key, sign_head
from custodes.types import InputError


@pytest.fixture
def written(where: str) -> str:
    """A ledger with a run in row 1 and judgments in rows 2 to 6."""
    with Ledger.open(where) as ledger:
        run = ledger.start_run("test", {}, seed=0)
        ledger.write(run, [judgment(i) for i in range(2, 7)])
    return where


def judgment(i: int) -> Comparison:
    return Comparison(id=f"j{i}", annotator="a", task="t", episodes=("e", "f"), strength=2)


def drop_triggers(database: LedgerDatabase) -> None:
    with database.writing() as connection:
        if connection.dialect.name == "sqlite":
            for name in connection.scalars(text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).all():
                connection.exec_driver_sql(f"DROP TRIGGER {name}")
        else:
            for table, name in (("log", "log_append_only"), ("head", "head_no_shrink"), ("head", "head_no_delete")):
                connection.exec_driver_sql(f"DROP TRIGGER {name} ON {table}")


def restore_triggers(database: LedgerDatabase, made: list[str]) -> None:
    with database.writing() as connection:
        for statement in made:
            connection.exec_driver_sql(statement)


def triggers_of(database: LedgerDatabase) -> list[str]:
    """The statements that make them."""
    with database.reading() as connection:
        if connection.dialect.name == "sqlite":
            return list(connection.scalars(text("SELECT sql FROM sqlite_master WHERE type = 'trigger'")))
        query = "SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal"
        return list(connection.scalars(text(query)))


def rewrite(where: str, seq: int, old: str, new: str, again: bool = True) -> None:
    """As a forger does it who knows everything: turn a row, compute all hashes anew, put the triggers back."""
    database = LedgerDatabase(where)
    made = triggers_of(database)
    drop_triggers(database)
    with database.writing() as connection:
        previous = GENESIS
        for row in connection.execute(text("SELECT * FROM log ORDER BY seq")).all():
            columns = [*row[:7], previous]
            if row.seq == seq:
                columns[5] = row.body.replace(old, new)
                assert columns[5] != row.body
            previous = hash_row(*columns)
            connection.execute(
                text("UPDATE log SET body = :b, previous = :p, hash = :h WHERE seq = :s"),
                {"b": columns[5], "p": columns[7], "h": previous, "s": row.seq},
            )
        connection.execute(text("UPDATE head SET hash = :h"), {"h": previous})
    if again:
        restore_triggers(database, made)
    database.close()


def test_a_missing_trigger_is_named(written: str) -> None:
    assert verify_ledger(written).ok
    rewrite(written, 4, '"strength":2', '"strength":-2', again=False)
    found = verify_ledger(written)
    assert not found.ok
    assert found.rows == 6  # every hash was computed anew
    assert "head_no_delete" in (found.problem or "")
    assert "missing" in (found.problem or "")


def test_a_changed_trigger_is_named(where: str) -> None:
    Ledger.open(where).close()
    database = LedgerDatabase(where)
    with database.writing() as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("DROP TRIGGER log_no_update")
            connection.exec_driver_sql("CREATE TRIGGER log_no_update BEFORE UPDATE ON log BEGIN SELECT 1; END")
        else:
            connection.exec_driver_sql("ALTER TABLE log DISABLE TRIGGER log_append_only")
    database.close()
    said = verify_ledger(where).problem or ""
    assert "not as the ledger made" in said
    assert "log_no_update" in said or "log_append_only" in said


def test_a_function_that_no_longer_refuses_is_noticed(postgres_server: postgres.Server) -> None:
    where = postgres_server.new_database()
    Ledger.open(where).close()
    assert verify_ledger(where).ok
    postgres_server.run(
        "CREATE OR REPLACE FUNCTION ledger_refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$",
        where,
    )
    assert "log_append_only" in (verify_ledger(where).problem or "")


def test_a_rewritten_ledger_does_not_contain_the_head_that_was_kept(written: str) -> None:
    with Ledger.open(written) as ledger:
        kept = ledger.head()
    rewrite(written, 4, '"strength":2', '"strength":-2')
    assert check_ledger(written).ok  # the chain alone cannot tell
    found = check_ledger(written, head=kept.head)
    assert not found.ok
    assert kept.head in found.problems[0]


def test_a_head_is_the_head_or_an_ancestor(written: str) -> None:
    with Ledger.open(written) as ledger:
        kept = ledger.head().head
        assert f"{kept} is the head." in check_ledger(written, head=kept).notes
        run = ledger.runs()[0].id
        ledger.write(run, [judgment(7), judgment(8)])
    found = check_ledger(written, head=kept.upper())
    assert found.ok
    assert "row 6, an ancestor of the head: 2 rows came after it" in found.notes[0]
    assert check_ledger(written, head=GENESIS).ok
    assert not check_ledger(written, head="1" * 64).ok
    with pytest.raises(InputError, match="64 hexadecimal"):
        check_ledger(written, head=kept[:12])


def test_signed_heads_are_checked(written: str, tmp_path: Path) -> None:
    public, heads = make_key(tmp_path / "mine.key"), tmp_path / "heads.jsonl"
    key = read_private_key(tmp_path / "mine.key")
    for number in (7, 8):
        with Ledger.open(written) as ledger:
            append_head(heads, sign_head(ledger.head(), key))
            ledger.write(ledger.runs()[0].id, [judgment(number)])
    assert [head.rows for _, head in read_heads(heads)] == [6, 7]
    assert check_ledger(written, head_file=heads, public_key=public).ok

    other = make_key(tmp_path / "other.key")
    said = check_ledger(written, head_file=heads, public_key=other).problems
    assert len(said) == 2
    assert "line 1: its signature is not of this key" in said[0]

    lines = heads.read_text().splitlines()
    heads.write_text("\n".join([lines[0].replace('"rows": 6', '"rows": 5'), lines[1]]))
    assert len(check_ledger(written, head_file=heads, public_key=public).problems) == 2  # row and signature of line 1
    unsigned = {**json.loads(lines[1]), "signature": ""}
    heads.write_text(json.dumps(unsigned) + "\n")
    assert "line 1: it is not signed" in check_ledger(written, head_file=heads, public_key=public).problems[0]


def test_heads_find_a_rewritten_ledger_wherever_the_rewriting_began(written: str, tmp_path: Path) -> None:
    heads = tmp_path / "heads.jsonl"
    with Ledger.open(written) as ledger:
        append_head(heads, ledger.head())
    rewrite(written, 1, '"recipe":"test"', '"recipe":"best"')  # even of the first row, by which a ledger is known
    said = check_ledger(written, head_file=heads).problems
    assert len(said) == 1
    assert "line 1" in said[0]


def test_a_head_file_of_other_ledgers_vouches_for_nothing(written: str, tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "other.db") as ledger:
        ledger.start_run("other", {}, seed=0)
        append_head(tmp_path / "heads.jsonl", ledger.head())
    assert "holds no head of this ledger" in check_ledger(written, head_file=tmp_path / "heads.jsonl").problems[0]


@pytest.mark.parametrize("line", ["{}", "nonsense", '{"time": 3}', "[1]"])
def test_a_line_that_is_no_head_is_named(written: str, tmp_path: Path, line: str) -> None:
    (tmp_path / "heads.jsonl").write_text(f"\n{line}\n")
    with pytest.raises(InputError, match=r"heads\.jsonl, line 2 is no head"):
        check_ledger(written, head_file=tmp_path / "heads.jsonl")


def test_keys_are_for_their_owner_and_never_overwritten(tmp_path: Path) -> None:
    public = make_key(tmp_path / "keys" / "ledger.key")
    private = tmp_path / "keys" / "ledger.key"
    assert private.stat().st_mode & 0o777 == 0o600
    with pytest.raises(InputError, match="is there already"):
        make_key(private)
    private.chmod(0o644)
    with pytest.raises(InputError, match="chmod 600"):
        read_private_key(private)
    public.chmod(0o600)
    with pytest.raises(InputError, match="no private ed25519 key"):
        read_private_key(public)


def test_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("CUSTODES_LEDGER_KEY", raising=False)
    where, heads = tmp_path / "ledger.db", tmp_path / "heads.jsonl"
    with Ledger.open(where) as ledger:
        ledger.start_run("test", {"x": 1}, seed=0)
    assert main(["ledger", "sign", str(where)]) == 2
    assert "custodes ledger keygen" in capsys.readouterr().err
    assert main(["ledger", "keygen"]) == 0
    capsys.readouterr()
    assert main(["ledger", "sign", str(where), "--head-file", str(heads)]) == 0
    head = json.loads(capsys.readouterr().out)["head"]
    public = str(tmp_path / "config" / "custodes" / "ledger.key.pub")
    ask = ["verify", str(where), "--head", head, "--head-file", str(heads), "--public-key", public]
    assert main([*ask, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["ok"]
    assert told["head"] == head
    assert len(told["notes"]) == 2
    rewrite(str(where), 1, '"x":1', '"x":2')
    assert main(ask) == 1
    assert capsys.readouterr().out.count("The record is broken") == 2
