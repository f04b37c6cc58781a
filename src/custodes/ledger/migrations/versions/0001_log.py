"""The log, its head, the triggers that keep it append-only, and one view per noun.

A migration is history: it spells out what it makes and imports nothing that may change.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

# view -> (kind, columns); a column is (name, path in the body, type), "" as type meaning text or JSON text.
VIEWS: dict[str, tuple[str, list[tuple[str, str, str]]]] = {
    "runs": (
        "run",
        [
            ("recipe", "recipe", ""),
            ("seed", "seed", "bigint"),
            ("status", "status", ""),
            ("started", "started", ""),
            ("ended", "ended", ""),
            ("config", "config", ""),
            ("invocations", "invocations", ""),
        ],
    ),
    "tasks": (
        "task",
        [("environment", "environment", ""), ("messages", "messages", ""), ("metadata", "metadata", "")],
    ),
    "episodes": (
        "episode",
        [
            ("task", "task.id", ""),
            ("policy", "policy", ""),
            ("outcome", "outcome", ""),
            ("tokens", "tokens", "bigint"),
            ("cost", "cost", ""),
        ],
    ),
    "judgments": (
        "judgment",
        [
            ("type", "type", ""),
            ("annotator", "annotator", ""),
            ("task", "task", ""),
            ("episodes", "episodes", ""),
            ("axis", "axis", ""),
            ("verdict", "verdict", ""),
            ("strength", "strength", "bigint"),
            ("ranks", "ranks", ""),
            ("name", "name", ""),
            ("value", "value", ""),
            ("text", "text", ""),
            ("span_start", "start", "bigint"),
            ("span_end", "end", "bigint"),
            ("category", "category", ""),
            ("severity", "severity", "bigint"),
            ("step", "step", "bigint"),
            ("seconds", "seconds", "double precision"),
            ("shown", "shown", ""),
            ("assistance", "assistance", ""),
            ("guideline", "guideline", ""),
        ],
    ),
    "annotators": ("annotator", [("annotator_kind", "kind", ""), ("profile", "profile", "")]),
    "models": (
        "model",
        [("name", "name", ""), ("model_kind", "kind", ""), ("parent", "parent", ""), ("metadata", "metadata", "")],
    ),
    "scores": (
        "score",
        [
            ("episode", "episode", ""),
            ("scorer", "scorer", ""),
            ("value", "value", "double precision"),
            ("std", "std", "double precision"),
            ("parts", "parts", ""),
        ],
    ),
    "evaluations": (
        "evaluation",
        [("name", "name", ""), ("subject", "subject", ""), ("n", "n", "bigint"), ("metrics", "metrics", "")],
    ),
    "decisions": ("decision", [("what", "what", ""), ("why", "why", ""), ("subject", "subject", "")]),
}

# In a body the character NUL stands as backslash, u0000. Neither database shows text with a NUL in it, so the
# views show the replacement character instead.
BODY = r"replace(body, '\u0000', '\ufffd')"

# PostgreSQL parses each body once: OFFSET keeps the subquery from being repeated for every column.
SOURCE = {"sqlite": "log", "postgresql": f"log, LATERAL (SELECT CAST({BODY} AS json) AS b OFFSET 0) AS parsed"}

# The last assistant message, as Episode.completion.
COMPLETION = {
    "sqlite": (
        "(SELECT json_extract(m.value, '$.content')"
        f" FROM json_each({BODY}, CASE WHEN json_type(body, '$.reply') IS NULL THEN '$.messages' ELSE '$.reply' END) AS m"
        " WHERE json_extract(m.value, '$.role') = 'assistant' ORDER BY m.key DESC LIMIT 1)"
    ),
    "postgresql": (
        "(SELECT m.value ->> 'content'"
        " FROM json_array_elements(coalesce(b -> 'reply', b -> 'messages')) WITH ORDINALITY AS m (value, i)"
        " WHERE m.value ->> 'role' = 'assistant' ORDER BY m.i DESC LIMIT 1)"
    ),
}

TRIGGERS = {
    "sqlite": [
        *(
            f"CREATE TRIGGER log_no_{verb.lower()} BEFORE {verb} ON log"
            " BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END"
            for verb in ("UPDATE", "DELETE")
        ),
        # INSERT OR REPLACE would delete the earlier row without asking the trigger above.
        "CREATE TRIGGER log_no_replace BEFORE INSERT ON log WHEN EXISTS (SELECT 1 FROM log WHERE seq = NEW.seq)"
        " BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END",
        "CREATE TRIGGER head_no_shrink BEFORE UPDATE ON head WHEN NEW.rows < OLD.rows"
        " BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END",
        "CREATE TRIGGER head_no_delete BEFORE DELETE ON head"
        " BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END",
    ],
    "postgresql": [
        "CREATE FUNCTION ledger_refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'the ledger is append-only'; END $$",
        "CREATE TRIGGER log_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON log"
        " FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse()",
        "CREATE TRIGGER head_no_shrink BEFORE UPDATE ON head"
        " FOR EACH ROW WHEN (NEW.rows < OLD.rows) EXECUTE FUNCTION ledger_refuse()",
        "CREATE TRIGGER head_no_delete BEFORE DELETE OR TRUNCATE ON head"
        " FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse()",
    ],
}


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "log",
        sa.Column("seq", number, primary_key=True, autoincrement=False),
        sa.Column("at", sa.Text, nullable=False),
        sa.Column("run", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("supersedes", number),
        sa.Column("previous", sa.Text, nullable=False),
        sa.Column("hash", sa.Text, nullable=False),
    )
    op.create_index("log_key", "log", ["run", "kind", "key"])
    op.create_index("log_order", "log", ["run", "kind", "seq"])
    some = sa.text("supersedes IS NOT NULL")
    op.create_index("log_supersedes", "log", ["supersedes"], unique=True, sqlite_where=some, postgresql_where=some)
    op.create_table(
        "head",
        sa.Column(
            "id", sa.Integer, sa.CheckConstraint("id = 1", name="head_single"), primary_key=True, autoincrement=False
        ),
        sa.Column("rows", number, nullable=False),
        sa.Column("hash", sa.Text, nullable=False),
    )
    run = op.get_bind().exec_driver_sql
    dialect = op.get_bind().dialect.name
    run(f"INSERT INTO head (id, rows, hash) VALUES (1, 0, '{'0' * 64}')")
    for statement in TRIGGERS[dialect]:
        run(statement)
    for name in VIEWS:
        run(view(name, dialect))


def view(name: str, dialect: str) -> str:
    """SQL that makes the view ``name``: rows of its kind that nothing supersedes, the body's fields as columns."""
    kind, columns = VIEWS[name]
    selected = [f"{extract(path, sql_type, dialect)} AS {column}" for column, path, sql_type in columns]
    if name == "episodes":
        selected.append(f"{COMPLETION[dialect]} AS completion")
    return (
        f"CREATE VIEW {name} AS SELECT seq, at, run, key AS id, {', '.join(selected)} FROM {SOURCE[dialect]}"
        f" WHERE kind = '{kind}' AND NOT EXISTS (SELECT 1 FROM log AS later WHERE later.supersedes = log.seq)"
    )


def extract(path: str, sql_type: str, dialect: str) -> str:
    if dialect == "sqlite":
        return f"json_extract({BODY}, '$.{path}')"
    found = f"b #>> '{{{path.replace('.', ',')}}}'"
    return f"CAST({found} AS {sql_type})" if sql_type else found
