"""Secrets of webhooks in the form of the Standard Webhooks: the same bytes, in base64 after whsec_."""

import base64

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    run = op.get_bind().execute
    for id_, secret in run(sa.text("SELECT id, secret FROM web_webhooks")).all():
        new = f"whsec_{base64.b64encode(secret.encode()).decode()}"
        run(sa.text("UPDATE web_webhooks SET secret = :new WHERE id = :id"), {"new": new, "id": id_})
