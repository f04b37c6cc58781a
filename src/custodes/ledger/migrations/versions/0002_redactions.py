"""Bodies have seals from here on, so that fields can be withdrawn; the view of who withdrew what.

The tables stay as they are: rows that were written before keep their bodies and their hashes.
"""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    sqlite = op.get_bind().dialect.name == "sqlite"
    columns = ", ".join(
        f"json_extract(body, '$.{name}') AS {name}" if sqlite else f"CAST(body AS json) #>> '{{{name}}}' AS {name}"
        for name in ("withdrawn", "who", "why")
    )
    op.get_bind().exec_driver_sql(
        f"CREATE VIEW redactions AS SELECT seq, at, run, key AS id, {columns} FROM log WHERE kind = 'redaction'"
    )
