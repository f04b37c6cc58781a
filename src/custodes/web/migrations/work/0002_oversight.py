"""What policies propose to do, and what was judged before help was shown."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("web_assignments", sa.Column("alone", sa.Text))
    op.create_table(
        "web_actions",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("account", sa.String(40), nullable=False),
        sa.Column("policy", sa.Text, nullable=False),
        sa.Column("screen", sa.Text, nullable=False),
        sa.Column("rule", sa.String(10), nullable=False),
        sa.Column("asked", sa.Float(53), nullable=False),
        sa.Column("until", sa.Float(53), nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("by", sa.String(40), nullable=False),
        sa.Column("why", sa.Text, nullable=False),
        sa.Column("decided", sa.Float(53)),
        sa.Column("seconds", sa.Float(53)),
        sa.Column("harmful", sa.Integer),
    )
    op.create_index("web_actions_state", "web_actions", ["state", "asked"])
