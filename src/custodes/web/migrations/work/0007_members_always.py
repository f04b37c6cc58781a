"""Projects without members, which everybody saw, say so: from now on a project is for its members."""

import warnings

from alembic import op
from sqlalchemy import text

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    open_to_all = op.get_bind().execute(
        text(
            "INSERT INTO web_members (project, account) SELECT name, 'everybody' FROM web_projects "
            "WHERE name NOT IN (SELECT project FROM web_members)"
        )
    )
    if count := open_to_all.rowcount:
        told = "1 project that had no members stays" if count == 1 else f"{count:,} projects that had no members stay"
        warnings.warn(
            f"{told} open to everybody with an account; a lead can change that on the page Manage.", stacklevel=1
        )
