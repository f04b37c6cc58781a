"""Runs one set of the server's migrations in the transaction that whoever asked for them holds."""

from alembic import context

given = context.config.attributes
context.configure(connection=given["connection"], version_table=given["version_table"])
with context.begin_transaction():
    context.run_migrations()
