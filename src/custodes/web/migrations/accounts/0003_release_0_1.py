"""Accounts, invitations, sessions, tokens, and what limits guessing, as release 0.1 has them.

A migration is history: it spells out what it makes and imports nothing that may change.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = None

SECRET, ID, ROLE, NAME, TEXT, TIME = sa.String(64), sa.String(32), sa.String(16), sa.String(80), sa.Text(), sa.Float()


def upgrade() -> None:
    person: dict[str, Any] = {"id": ID, "name": NAME, "password": TEXT, "role": ROLE, "profile": TEXT}
    _table("accounts", unique="name", **person, created=TIME, disabled=sa.Boolean())
    _table("invitations", secret=SECRET, role=ROLE, profile=TEXT, by=ID, expires=TIME, used_by_=ID)
    _table("sessions", secret=SECRET, account=ID, csrf=SECRET, created=TIME, seen=TIME)
    token: dict[str, Any] = {"secret": SECRET, "id": ID, "account": ID, "name": NAME, "scopes": TEXT}
    _table("tokens", unique="id", **token, created=TIME, expires=TIME)
    _table("devices", secret=SECRET, account=ID, expires=TIME)
    _table("identities", keys=2, issuer=sa.String(500), subject=sa.String(255), account=ID)
    _table("failures", keys=0, key=sa.String(160), at=TIME)
    op.create_index("desk_failures_key", "desk_failures", ["key", "at"])
    for table in ("sessions", "tokens", "devices"):
        op.create_index(f"ix_desk_{table}_account", f"desk_{table}", ["account"])


def _table(table: str, /, keys: int = 1, unique: str = "", **kinds: Any) -> None:
    """A table whose first ``keys`` columns are its key; a column_ may be null."""
    columns = []
    for n, (column, kind) in enumerate(kinds.items()):
        about: dict[str, Any] = {
            "primary_key": n < keys,
            "nullable": column.endswith("_"),
            "unique": column == unique or None,
        }
        columns.append(sa.Column(column.rstrip("_"), kind, **about))
    op.create_table(f"desk_{table}", *columns)
