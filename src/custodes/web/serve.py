"""Starting the server."""

from __future__ import annotations

import socket

import uvicorn

from custodes.types import InputError
from custodes.web.app import create_app
from custodes.web.database import Database


def serve(db: str, host: str, port: int, proxy: str = "") -> None:
    """Serves the database at ``db`` until it is told to stop; prints an invitation where there is no account yet.

    ``proxy`` is the address of a reverse proxy whose X-Forwarded headers are believed. Raises InputError where the
    database or the address cannot be used.
    """
    _check_free(host, port)
    database = Database(db)
    try:
        if not database.accounts.all():
            invitation = database.accounts.invite("lead", "server")
            print(f"Nobody has an account yet. Invitation for the first lead, good once and for a week: {invitation}")
        print(f"Serving {db} at http://{host}:{port}/api (Ctrl-C ends it).", flush=True)
        options = {"proxy_headers": bool(proxy), "forwarded_allow_ips": proxy or None, "log_level": "warning"}
        uvicorn.run(create_app(database), host=host, port=port, server_header=False, **options)  # type: ignore[arg-type]
    finally:
        database.close()


def _check_free(host: str, port: int) -> None:
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        raise InputError(f"{host}:{port} cannot be used ({error.strerror}); choose another --host or --port.") from None
