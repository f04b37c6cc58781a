"""Brings tables to their newest format, one database at a time: Alembic keeps what it works on in one place for a whole process."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

_one_at_a_time = threading.Lock()


def run_migrations(
    connection: Connection, folder: Path, versions: Path | None = None, attributes: Mapping[str, Any] | None = None
) -> None:
    """Run the migrations in ``folder`` that are missing, in the transaction of ``connection``, which holds the database.

    ``versions`` is the folder of the migrations themselves, where several sets share an ``env.py``; ``attributes`` are for
    that file. Raises :class:`alembic.util.CommandError` where a newer version made the tables.
    """
    from alembic import command  # half a second to import, and needed once in a database's life
    from alembic.config import Config

    config = Config()
    for name, path in (("script_location", folder), ("version_locations", versions)):
        if path is not None:
            config.set_main_option(name, str(path).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes |= {"connection": connection, **(attributes or {})}
    with _one_at_a_time:
        command.upgrade(config, "head")
