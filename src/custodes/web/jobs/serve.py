"""Serving annotation projects: what ``custodes serve`` does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from custodes.job.command import command
from custodes.ranges import Port, ranged
from custodes.types import InputError
from custodes.web.database import DATABASE
from custodes.web.oidc import Provider
from custodes.web.serve import serve as serve_database
from custodes.web.serve import serve_demo


@dataclass(frozen=True, kw_only=True)
@ranged
class Serve:
    """Serve annotation projects; the first start prints an invitation for a lead."""

    demo: bool = False
    """Begin with a small loaded project of every kind; without --db, in a temporary folder."""
    db: str | None = None
    """ServerDatabase: a file (custodes.db), or postgresql://user:password@host/database for several servers."""
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
    """Serve annotation projects to people and programs."""
    if config.demo and config.db is None:
        serve_demo(config.host, config.port)
        return
    oidc = (config.oidc_issuer, config.oidc_client_id, config.oidc_secret_file)
    if any(oidc) and not all(oidc):
        raise InputError("a provider takes --oidc-issuer, --oidc-client-id and --oidc-secret-file, all three.")
    provider = Provider.of(oidc[0], oidc[1], oidc[2]) if oidc[2] else None
    db, options = config.db or DATABASE, (config.proxy, config.webhook_hosts)
    serve_database(db, config.host, config.port, *options, provider, config.demo)
