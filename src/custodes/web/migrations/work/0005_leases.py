"""Leases are found by their state first.

With the project first, PostgreSQL could not tell before its first statistics that this index is the wrong one to ask whom an
item was given to, and read every assignment of the project for every item that it offered.
"""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.drop_index("web_assignments_leases", "web_assignments")
    op.create_index("web_assignments_leases", "web_assignments", ["state", "until", "project"])
