"""Projects, their items, who has what before them, and who is in quarantine.

A migration is history: it spells out what it makes and imports nothing that may change.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "web_about", sa.Column("key", sa.String(100), primary_key=True), sa.Column("value", sa.Text, nullable=False)
    )
    op.create_table(
        "web_projects",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("run", sa.Text, nullable=False),
        sa.Column("closed", sa.Text),
        sa.Column("created", sa.Float(53), nullable=False),
    )
    op.create_table(
        "web_items",
        sa.Column("project", sa.String(64), primary_key=True),
        sa.Column("id", sa.String(80), primary_key=True),
        sa.Column("screen", sa.Text, nullable=False),
        sa.Column("gold", sa.Text, nullable=False),
        sa.Column("tags", sa.Text, nullable=False),
        sa.Column("place", sa.Integer, nullable=False),
        sa.Column("information", sa.Float(53), nullable=False),
        sa.Column("done", sa.Integer, nullable=False),
        sa.Column("leased", sa.Integer, nullable=False),
    )
    op.create_index("web_items_open", "web_items", ["project", "gold", "leased", "done", "place"])
    op.create_table(
        "web_assignments",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("project", sa.String(64), nullable=False),
        sa.Column("item", sa.String(80), nullable=False),
        sa.Column("account", sa.String(40), nullable=False),
        sa.Column("purpose", sa.String(10), nullable=False),
        sa.Column("turn", sa.Integer, nullable=False),
        sa.Column("shown", sa.Text, nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("given", sa.Float(53), nullable=False),
        sa.Column("until", sa.Float(53), nullable=False),
        sa.Column("ended", sa.Float(53)),
        sa.Column("seconds", sa.Float(53)),
        sa.Column("draft", sa.Text, nullable=False),
    )
    op.create_index("web_assignments_person", "web_assignments", ["project", "account", "state"])
    op.create_index("web_assignments_item", "web_assignments", ["project", "item", "account"])
    op.create_index("web_assignments_leases", "web_assignments", ["project", "state", "until"])
    op.create_index("web_assignments_once", "web_assignments", ["project", "item", "account", "turn"], unique=True)
    op.create_table(
        "web_quarantines",
        sa.Column("project", sa.String(64), primary_key=True),
        sa.Column("account", sa.String(40), primary_key=True),
        sa.Column("decision", sa.Text, nullable=False),
    )
