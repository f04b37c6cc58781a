"""Serving annotation projects: what ``custodes serve`` does."""

from __future__ import annotations

import socket
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import uvicorn

from custodes.job.command import command
from custodes.ranges import Port, ranged
from custodes.types import InputError
from custodes.web.accounts import ACCOUNT_ROLES
from custodes.web.app import create_app
from custodes.web.database import DATABASE, ServerDatabase
from custodes.web.demo import load_demo
from custodes.web.oidc import Provider
from custodes.web.webhook_delivery import WebhookDelivery

SWITCH = 5e-4
"""Seconds after which a thread lets others go on: whoever holds the turn to write waits for the database many times, and
should not wait for Python each time."""


@dataclass(frozen=True, kw_only=True)
@ranged
class Serve:
    """Serve annotation projects; the first start prints an invitation for a lead."""

    demo: bool = False
    """Begin with a small loaded project of every kind; without --db, in a temporary folder."""
    db: str | None = None
    """Database: a file (custodes.db), or postgresql://user:password@host/database for several servers."""
    host: str = "127.0.0.1"
    """Address to listen on."""
    port: Port = 8080
    """Port to listen on."""
    proxy: str = ""
    """Address of a reverse proxy (which does TLS) whose X-Forwarded headers are believed."""
    webhook_hosts: tuple[str, ...] = ()
    """The only hosts that webhooks may go to, internal ones included; without it, every public address."""
    oidc_issuer: str = ""
    """Address of an OpenID Connect provider by which people may sign in."""
    oidc_client_id: str = ""
    """What this server is called there."""
    oidc_secret_file: Path | None = None
    """File with the secret that the provider gave this server."""


@command(prints=False, recorded=False)
def serve(config: Serve) -> None:
    """Serve annotation projects to people and programs, until the server is told to stop.

    Raises InputError where the database, the address or the provider cannot be used.
    """
    if config.demo and config.db is None:
        with tempfile.TemporaryDirectory(prefix="custodes-demo-") as folder:
            return serve(replace(config, db=str(Path(folder) / "demo.db")))
    oidc = (config.oidc_issuer, config.oidc_client_id, config.oidc_secret_file)
    if any(oidc) and not all(oidc):
        raise InputError("a provider takes --oidc-issuer, --oidc-client-id and --oidc-secret-file, all three.")
    provider = Provider.of(oidc[0], oidc[1], oidc[2]) if oidc[2] else None
    _check_free(config.host, config.port)
    address = f"http://{f'[{config.host}]' if ':' in config.host else config.host}:{config.port}"
    with ServerDatabase(config.db or DATABASE) as database:
        if config.demo:
            _fill(database, address)
        elif not database.accounts.all():
            link = f"{address}/join?invitation={database.accounts.invite('lead', 'server')}"
            print(f"Nobody has an account yet. The first lead joins here, once and within a week: {link}")
        print(f"Serving {database.name} at {address} (Ctrl-C ends it).", flush=True)
        options = {"proxy_headers": bool(config.proxy), "forwarded_allow_ips": config.proxy or None}
        app = create_app(database, provider=provider, webhook_hosts=config.webhook_hosts)
        with WebhookDelivery(database, config.webhook_hosts):
            sys.setswitchinterval(SWITCH)
            listen = {"host": config.host, "port": config.port, "server_header": False, "log_level": "warning"}
            uvicorn.run(app, **listen, **options)  # type: ignore[arg-type]


def _fill(database: ServerDatabase, address: str) -> None:
    if database.accounts.all():
        raise InputError(f"{database.name} has accounts already; --demo fills an empty database. Start without --demo.")
    print("Loading the demo ...", flush=True)
    password, projects = load_demo(database)
    print(f"The demo has {len(projects)} projects: {', '.join(projects)}.")
    print(f"Sign in at {address} as {', '.join(ACCOUNT_ROLES[:-1])} or {ACCOUNT_ROLES[-1]}.")
    print(f"The password of all of them is {password}")


def _check_free(host: str, port: int) -> None:
    try:
        family, _, _, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(where)
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise InputError(f"{host}:{port} cannot be used ({why}); choose another --host or --port.") from None
