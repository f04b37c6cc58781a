"""Whoever rewrites history is found out, and the row is named."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from strategies import records

from custodes.feedback.kinds.comparison import Comparison
from custodes.ledger import Ledger, Record, Verification, verify_ledger
from custodes.ledger.chain import GENESIS, ChainRow, hash_row, verify_chain
from custodes.ledger.codec import encode
from custodes.ledger.database import LedgerDatabase
from custodes.ledger.redacting import RedactionChoice, redact
from custodes.ledger.sealing import hashed_body, leaves, seal, withdraw
from custodes.types import InputError

patient = settings(deadline=None)  # a busy machine is not a failure


def chain(n: int) -> tuple[list[ChainRow], tuple[int, str]]:
    """n honest rows, row i holding judgment ji, and their head."""
    rows: list[ChainRow] = []
    for i in range(1, n + 1):
        previous = rows[-1].hash if rows else GENESIS
        columns = (i, "2026-01-01", "run", "judgment", f"j{i}", '{"x":1}', None, previous)
        rows.append(ChainRow(*columns, hash_row(*columns)))
    return rows, (n, rows[-1].hash if rows else GENESIS)


def rehashed(row: ChainRow, **changes: object) -> ChainRow:
    """The row as a forger writes it who knows how hashes are made."""
    changed = row._replace(**changes)  # type: ignore[arg-type]
    return changed._replace(hash=hash_row(*changed[:8]))


def renumbered(rows: list[ChainRow]) -> list[ChainRow]:
    return [row._replace(seq=i) for i, row in enumerate(rows, 1)]


def problem(rows: list[ChainRow], head: tuple[int, str] | None) -> str:
    found = verify_chain(rows, head)
    assert found.ok is False
    return found.problem or ""


@patient
@given(st.integers(0, 30))
def test_an_honest_chain_holds(n: int) -> None:
    rows, head = chain(n)
    assert verify_chain(rows, head) == Verification(True, n, None, head[1])


places = st.integers(3, 10)  # of rows 1 to 12


@patient
@given(places, st.sampled_from(["at", "run", "kind", "key", "body", "supersedes", "previous", "hash"]))
def test_an_edited_row_is_named(i: int, column: str) -> None:
    rows, head = chain(12)
    rows[i - 1] = rows[i - 1]._replace(**{column: 1 if column == "supersedes" else "forged"})
    assert f"row {i} (" in problem(rows, head)
    assert verify_chain(rows, head).rows == i - 1


@patient
@given(places, st.sampled_from(["at", "run", "kind", "body"]))
def test_an_edited_row_with_a_fresh_hash_is_found_at_the_next(i: int, column: str) -> None:
    rows, head = chain(12)
    rows[i - 1] = rehashed(rows[i - 1], **{column: "forged"})
    assert f"row {i + 1} (judgment 'j{i + 1}') does not follow row {i}" in problem(rows, head)


@patient
@given(places)
def test_text_moved_from_one_column_to_the_next_is_an_edit(i: int) -> None:
    rows, head = chain(12)
    row = rows[i - 1]
    rows[i - 1] = row._replace(kind="judg", key="ment" + row.key)
    assert f"row {i} (judg 'mentj{i}') was edited" in problem(rows, head)


@patient
@given(places)
def test_a_removed_row_is_numbered(i: int) -> None:
    rows, head = chain(12)
    del rows[i - 1]
    assert f"row {i} is missing: after row {i - 1} (judgment 'j{i - 1}')" in problem(rows, head)


@patient
@given(places)
def test_a_removed_row_is_found_when_the_rest_moves_up(i: int) -> None:
    rows, head = chain(12)
    del rows[i - 1]
    assert f"row {i} (judgment 'j{i + 1}') was moved: it was written as row {i + 1}" in problem(renumbered(rows), head)


@patient
@given(st.integers(1, 11))
def test_removal_of_the_last_rows_is_noticed(kept: int) -> None:
    rows, head = chain(12)
    assert f"the last {12 - kept} of 12 rows are missing" in problem(rows[:kept], head)


@patient
@given(places)
def test_an_inserted_row_is_named(i: int) -> None:
    rows, head = chain(12)
    forged = rehashed(rows[i - 1], key="forged")
    rows.insert(i - 1, forged)
    assert f"row {i} (judgment 'forged') was inserted" in problem(renumbered(rows), head)


def test_a_row_added_at_the_end_is_named() -> None:
    rows, head = chain(12)
    rows.append(rehashed(rows[-1], seq=13, key="forged", previous=rows[-1].hash))
    assert "the last is row 13 (judgment 'forged')" in problem(rows, head)


@patient
@given(places, places)
def test_exchanged_rows_are_named(i: int, k: int) -> None:
    rows, head = chain(12)
    i, k = min(i, k), max(i, k) + (i == k)
    rows[i - 1], rows[k - 1] = rows[k - 1], rows[i - 1]
    assert f"row {i} (judgment 'j{k}') was moved: it was written as row {k}" in problem(renumbered(rows), head)


def test_a_head_that_was_forged_or_removed_is_noticed() -> None:
    rows, _ = chain(3)
    assert "head row is missing" in problem(rows, None)
    assert "head holds another hash" in problem(rows, (3, rows[1].hash))


# ---------------------------------------------------------------- in the databases themselves


def forge(where: str, *statements: str) -> None:
    """Rewrite the tables with the triggers out of the way."""
    database = LedgerDatabase(where)
    with database.writing() as connection:
        if connection.dialect.name == "sqlite":
            for name in connection.scalars(text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).all():
                connection.exec_driver_sql(f"DROP TRIGGER {name}")
        else:
            for table in ("log", "head"):
                connection.exec_driver_sql(f"ALTER TABLE {table} DISABLE TRIGGER ALL")
        for statement in statements:
            connection.execute(text(statement))
    database.close()


@pytest.fixture
def written(where: str) -> str:
    """A ledger with a run in row 1 and judgments j2 to j6 in rows 2 to 6."""
    with Ledger.open(where) as ledger:
        run = ledger.start_run("test", {}, seed=0)
        pair = ("e", "f")
        ledger.write(
            run, [Comparison(id=f"j{i}", annotator="a", task="t", episodes=pair, strength=2) for i in range(2, 7)]
        )
    return where


@pytest.mark.parametrize(
    ("statements", "said"),
    [
        (["UPDATE log SET body = replace(body, '2', '3') WHERE seq = 4"], "row 4 (judgment 'j4') was edited"),
        (["DELETE FROM log WHERE seq = 4"], "row 4 is missing"),
        (["DELETE FROM log WHERE seq > 4"], "the last 2 of 6 rows are missing"),
        (["DELETE FROM log"], "the last 6 of 6 rows are missing"),
        (["DELETE FROM head"], "the head row is missing"),
        (
            [f"UPDATE log SET seq = {new} WHERE seq = {old}" for old, new in ((4, 99), (5, 4), (99, 5))],
            "row 4 (judgment 'j5') was moved: it was written as row 5",
        ),
        (
            [
                *(f"UPDATE log SET seq = {i + 1} WHERE seq = {i}" for i in (6, 5, 4)),
                "INSERT INTO log SELECT 4, at, run, kind, 'forged', body, supersedes, previous, hash"
                " FROM log WHERE seq = 3",
            ],
            "row 4 (judgment 'forged')",
        ),
    ],
    ids=["edited", "removed", "last removed", "emptied", "headless", "exchanged", "inserted"],
)
def test_a_rewritten_ledger_does_not_verify(written: str, statements: list[str], said: str) -> None:
    assert verify_ledger(written).ok
    forge(written, *statements)
    found = verify_ledger(written)
    assert found.ok is False
    assert said in (found.problem or "")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE log SET body = '{}'",
        "DELETE FROM log WHERE seq = 2",
        "UPDATE head SET rows = 1",
        "DELETE FROM head",
        "INSERT OR REPLACE INTO log SELECT * FROM log",
        "TRUNCATE log",
    ],
)
def test_the_database_itself_refuses_to_rewrite(written: str, statement: str) -> None:
    database = LedgerDatabase(written)
    try:
        with pytest.raises((DBAPIError, InputError)), database.writing() as connection:
            connection.execute(text(statement))
    finally:
        database.close()
    assert verify_ledger(written).rows == 6


PAGE = (Path(__file__).parents[2] / "docs/reference/ledger-format.md").read_text()
BY_HAND = re.search(r"```python\n(.*?)```", PAGE, re.S)[1]  # type: ignore[index]


def test_the_documentation_says_how_to_verify_by_hand(written: str) -> None:
    if "://" in written:
        code = re.sub("sqlite3.connect.*", f"psycopg.connect({written!r})", BY_HAND).replace("sqlite3", "psycopg")
    else:
        code = BY_HAND.replace("ledger.db", written)
    exec(code, {})
    with Ledger.open(written) as ledger:
        redact(ledger, RedactionChoice(rows=[3], fields=["strength"]), who="Eve", why="asked")
    exec(code, {})
    forge(written, "UPDATE log SET body = replace(body, '2', '3') WHERE seq = 4")
    with pytest.raises(AssertionError, match="row 4 was edited"):
        exec(code, {})


@patient
@given(records, st.data())
def test_the_hash_by_hand_is_the_hash(record: Record, data: st.DataObject) -> None:
    by_hand: dict[str, Any] = {}
    exec(BY_HAND.partition("db = ")[0], by_hand)
    body = seal(encode(record).body)
    gone = data.draw(st.sets(st.sampled_from([path for path, _ in leaves(body)]), max_size=3))
    assert by_hand["hashed"](body) == by_hand["hashed"](withdraw(body, gone)) == hashed_body(body)
