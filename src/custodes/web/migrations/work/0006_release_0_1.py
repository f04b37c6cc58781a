"""The tables of work as release 0.1 has them.

A migration is history: it spells out what it makes and imports nothing that may change.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = None


def upgrade() -> None:
    _table("about", key=100, value=sa.Text)
    _table("projects", name=64, text=sa.Text, run=sa.Text, closed_=sa.Text, created=TIME)
    texts: dict[str, Any] = {"screen": sa.Text, "gold": sa.Text, "tags": sa.Text}
    counts: dict[str, Any] = {
        "place": sa.Integer,
        "information": TIME,
        "done": sa.Integer,
        "leased": sa.Integer,
        "open": sa.Integer,
    }
    _table("items", keys=2, project=64, id=80, **texts, **counts)
    columns: list[str | sa.TextClause] = ["project", "open", "gold", "leased", sa.text("done DESC"), "place"]
    op.create_index("web_items_next", "web_items", columns)
    whose: dict[str, Any] = {
        "id": 40,
        "project": 64,
        "item": 80,
        "account": 40,
        "purpose": 10,
        "turn": sa.Integer,
        "shown": sa.Text,
    }
    when: dict[str, Any] = {"state": 10, "given": TIME, "until": TIME, "ended_": TIME, "seconds_": TIME}
    _table("assignments", **whose, **when, draft=sa.Text, alone_=sa.Text)
    _index("assignments_person", "assignments", "project", "account", "state")
    _index("assignments_item", "assignments", "project", "item", "account")
    _index("assignments_leases", "assignments", "state", "until", "project")
    _index("assignments_once", "assignments", "project", "item", "account", "turn", unique=True)
    _table("quarantines", keys=2, project=64, account=40, decision=sa.Text)
    _table("members", keys=2, project=64, account=40)
    asked: dict[str, Any] = {
        "id": 40,
        "account": 40,
        "policy": sa.Text,
        "screen": sa.Text,
        "rule": 10,
        "asked": TIME,
        "until": TIME,
    }
    answered: dict[str, Any] = {
        "state": 10,
        "by": 40,
        "why": sa.Text,
        "decided_": TIME,
        "seconds_": TIME,
        "harmful_": sa.Integer,
    }
    _table("actions", **asked, **answered)
    _index("actions_state", "actions", "state", "asked")
    _table("webhooks", id=40, project=64, url=sa.Text, secret=sa.Text, events=sa.Text, created=TIME)
    _index("webhooks_project", "webhooks", "project")
    sent: dict[str, Any] = {"state": 10, "created": TIME, "due": TIME, "tries": sa.Integer, "said": sa.Text}
    _table("outbox", id=40, webhook=40, body=sa.Text, **sent)
    _index("outbox_due", "outbox", "state", "due")
    _index("outbox_webhook", "outbox", "webhook", "state")


TIME = sa.Float(53)


def _table(name: str, /, keys: int = 1, **kinds: Any) -> None:
    """A table whose first ``keys`` columns are its key; a number is a text's length, and a column_ may be null."""
    columns: list[sa.Column[Any]] = [
        sa.Column(
            column.rstrip("_"),
            sa.String(kind) if isinstance(kind, int) else kind,
            primary_key=n < keys,
            nullable=column.endswith("_"),
        )
        for n, (column, kind) in enumerate(kinds.items())
    ]
    op.create_table(f"web_{name}", *columns)


def _index(name: str, table: str, *columns: str, unique: bool = False) -> None:
    op.create_index(f"web_{name}", f"web_{table}", list(columns), unique=unique)
