"""Who may see a project, where it is not for everybody."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "web_members",
        sa.Column("project", sa.String(64), primary_key=True),
        sa.Column("account", sa.String(40), primary_key=True),
    )
