"""Starting the server."""

from __future__ import annotations

import socket
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import uvicorn

from custodes.types import InputError
from custodes.web.accounts import ACCOUNT_ROLES
from custodes.web.app import create_app
from custodes.web.database import ServerDatabase
from custodes.web.demo import load_demo
from custodes.web.oidc import Provider
from custodes.web.webhook_delivery import WebhookDelivery

SWITCH = 5e-4
"""Seconds after which a thread lets others go on: whoever holds the turn to write waits for the database many times, and
should not wait for Python each time."""


def serve(
    db: str,
    host: str,
    port: int,
    proxy: str = "",
    webhook_hosts: Sequence[str] = (),
    provider: Provider | None = None,
    demo: bool = False,
) -> None:
    """Serves the database at ``db`` until it is told to stop; prints an invitation where there is no account yet.

    ``proxy`` is the address of a reverse proxy whose X-Forwarded headers are believed. ``webhook_hosts`` are as
    :class:`~custodes.web.webhook_delivery.WebhookDelivery` takes them. ``provider`` lets people sign in elsewhere. With
    ``demo`` an empty database is filled first, and who can sign in is printed.

    Raises InputError where the database or the address cannot be used.
    """
    _check_free(host, port)
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    with ServerDatabase(db) as database:
        if demo:
            _fill(database, address)
        elif not database.accounts.all():
            link = f"{address}/join?invitation={database.accounts.invite('lead', 'server')}"
            print(f"Nobody has an account yet. The first lead joins here, once and within a week: {link}")
        print(f"Serving {database.name} at {address} (Ctrl-C ends it).", flush=True)
        options = {"proxy_headers": bool(proxy), "forwarded_allow_ips": proxy or None, "log_level": "warning"}
        app = create_app(database, provider=provider, webhook_hosts=webhook_hosts)
        with WebhookDelivery(database, webhook_hosts):
            sys.setswitchinterval(SWITCH)
            uvicorn.run(app, host=host, port=port, server_header=False, **options)  # type: ignore[arg-type]


def serve_demo(host: str, port: int) -> None:
    """Serves the demo from a temporary folder, which is gone when the server ends."""
    with tempfile.TemporaryDirectory(prefix="custodes-demo-") as folder:
        serve(str(Path(folder) / "demo.db"), host, port, demo=True)


def _fill(database: ServerDatabase, address: str) -> None:
    if database.accounts.all():
        raise InputError(f"{database.name} has accounts already; --demo fills an empty database. Start without --demo.")
    print("Loading the demo ...", flush=True)
    password, projects = load_demo(database)
    print(f"The demo has {len(projects)} projects: {', '.join(projects)}.")
    print(f"Sign in at {address} as {', '.join(ACCOUNT_ROLES[:-1])} or {ACCOUNT_ROLES[-1]}.")
    print(f"The password of all of them is {password}")


def _check_free(host: str, port: int) -> None:
    if not 0 < port < 65_536:
        raise InputError(f"{host}:{port} cannot be used; --port should be from 1 to 65535.")
    try:
        family, _, _, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(where)
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise InputError(f"{host}:{port} cannot be used ({why}); choose another --host or --port.") from None
