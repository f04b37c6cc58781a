"""People read the ledger with plain SQL: one view per noun, on both databases."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from custodes import ledger as package
from custodes.feedback.kinds.comparison import Comparison
from custodes.feedback.kinds.label import Label
from custodes.feedback.kinds.rating import Rating
from custodes.feedback.kinds.span import SpanMark
from custodes.ledger import Decision, Evaluation, Ledger, Model, ScoreRow
from custodes.ledger.database import LedgerDatabase
from custodes.ledger.schema import FORMAT, VERSION_TABLE, metadata
from custodes.types import Annotator, Episode, Message, Task


def query(where: str, sql: str) -> list[tuple[Any, ...]]:
    database = LedgerDatabase(where, read_only=True)
    with database.reading() as connection:
        rows = [tuple(row) for row in connection.execute(text(sql))]
    database.close()
    return rows


@pytest.fixture
def filled(ledger: Ledger, run: str, where: str) -> str:
    task = Task("t", (Message("user", "hi"),), "prompts", {"gold": 1})
    talk = (*task.messages, Message("assistant", "first"), Message("user", "more"), Message("assistant", "a\0b"))
    ids = np.arange(4, dtype=np.int32)
    shown: dict[str, Any] = {"annotator": "a", "task": "t"}
    ledger.write(
        run,
        [
            task,
            Episode("e", task, talk, ids, ids > 1, ids.astype(np.float32), "stop", "base", {"usd": 0.5}),
            Comparison(id="j1", episodes=("e", "f"), strength=2, seconds=3.5, **shown),
            Rating(id="j2", episodes=("e",), value=6, **shown),
            Label(id="j3", episodes=("e",), name="safe", value="yes", **shown),
            SpanMark(id="j4", episodes=("e",), start=2, end=5, category="wrong", **shown),
            Annotator("a", "simulated", {"nature": "hasty"}),
            Model("m", "reward-1", "reward", None, {"members": 4}),
            ScoreRow("e", "proxy", 1.5, None, {"kl": 0.25}),
            Evaluation("v", "kl", "naive", {"kl": [1, 2]}, 2),
            Decision("d", "quarantine", "it lies", "a"),
        ],
    )
    ledger.write(run, [Decision("d", "keep", "it errs", "a")], supersedes="d")
    return where


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        ("SELECT recipe, seed, status, ended FROM runs", [("test", 0, "running", None)]),
        ("SELECT id, environment FROM tasks", [("t", "prompts")]),
        ("SELECT id, task, policy, outcome, tokens FROM episodes", [("e", "t", "base", "stop", 4)]),
        (
            "SELECT id, type, strength, seconds FROM judgments WHERE type = 'comparison'",
            [("j1", "comparison", 2, 3.5)],
        ),
        ("SELECT id, name, CAST(value AS text) FROM judgments WHERE value IS NOT NULL ORDER BY id",
         [("j2", None, "6"), ("j3", "safe", "yes")]),
        ("SELECT span_end - span_start, category FROM judgments WHERE type = 'span_mark'", [(3, "wrong")]),
        ("SELECT id, annotator_kind FROM annotators", [("a", "simulated")]),
        ("SELECT id, name, model_kind, parent FROM models", [("m", "reward-1", "reward", None)]),
        ("SELECT episode, scorer, value, std FROM scores", [("e", "proxy", 1.5, None)]),
        ("SELECT name, subject, n FROM evaluations", [("kl", "naive", 2)]),
        ("SELECT what, subject FROM decisions", [("keep", "a")]),
    ],
)  # fmt: skip
def test_each_noun_has_a_view(filled: str, sql: str, rows: list[tuple[Any, ...]]) -> None:
    assert query(filled, sql) == rows


def test_completion_is_the_last_assistant_message(filled: str) -> None:
    """PostgreSQL cannot show the character NUL and shows a replacement."""
    assert query(filled, "SELECT completion FROM episodes") in ([("a\0b",)], [("a\ufffdb",)])


def test_mappings_are_json_text(filled: str) -> None:
    (found,) = query(filled, "SELECT profile, metrics FROM annotators CROSS JOIN evaluations")
    assert found == ('{"nature":"hasty"}', '{"kl":[1,2]}')


def test_migrations_make_the_tables_that_the_code_uses(ledger: Ledger, where: str) -> None:
    database = LedgerDatabase(where)
    with database.reading() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        assert compare_metadata(context, metadata) == []
    database.close()


def test_format_is_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", f"{package.__path__[0]}/migrations")
    assert ScriptDirectory.from_config(config).get_heads() == [FORMAT]
