"""Items know whether they are still wanted, so that the next one is found by an index however many are done."""

import sqlalchemy as sa
import yaml
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("web_items", sa.Column("open", sa.Integer, nullable=False, server_default="0"))
    run = op.get_bind().execute
    for name, text in run(sa.text("SELECT name, text FROM web_projects")).all():
        overlap = (yaml.safe_load(text).get("assignment") or {}).get("overlap", 3)
        given = {"project": name, "overlap": overlap}
        run(sa.text("UPDATE web_items SET open = 1 WHERE project = :project AND done + leased < :overlap"), given)
    op.drop_index("web_items_open", "web_items")
    columns: list[str | sa.TextClause] = ["project", "open", "gold", "leased", sa.text("done DESC"), "place"]
    op.create_index("web_items_next", "web_items", columns)
