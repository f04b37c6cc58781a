"""Browsers in which an account has been signed in before: guesses made elsewhere do not lock them out."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "desk_devices",
        sa.Column("secret", sa.String(64), primary_key=True),
        sa.Column("account", sa.String(32), nullable=False),
        sa.Column("expires", sa.Float, nullable=False),
    )
    op.create_index("ix_desk_devices_account", "desk_devices", ["account"])
