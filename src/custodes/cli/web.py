"""Commands of the annotation server."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from custodes.cli.options import parse
from custodes.ranges import Port
from custodes.types import InputError

File = Annotated[Path, tyro.conf.arg(metavar="FILE")]
DATABASE = "custodes.db"


def serve(given: list[str]) -> int:
    """Serve annotation projects to people and programs."""

    @dataclass(frozen=True, kw_only=True)
    class Options:
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

    options = parse("serve", Options, given)
    require_web()
    from custodes.web.oidc import Provider
    from custodes.web.serve import serve as start
    from custodes.web.serve import serve_demo

    if options.demo and options.db is None:
        serve_demo(options.host, options.port)
        return 0
    oidc = (options.oidc_issuer, options.oidc_client_id, options.oidc_secret_file)
    if any(oidc) and not all(oidc):
        raise InputError(
            "signing in by a provider takes --oidc-issuer, --oidc-client-id and --oidc-secret-file, all three."
        )
    start(
        options.db or DATABASE,
        options.host,
        options.port,
        options.proxy,
        options.webhook_hosts,
        Provider.of(oidc[0], oidc[1], oidc[2]) if oidc[2] else None,
        options.demo,
    )
    return 0


def project_open(given: list[str]) -> int:
    """Open a project on the server's database."""

    @dataclass(frozen=True, kw_only=True)
    class Options:
        """Open a project with its tasks, so that annotators can begin."""

        file: tyro.conf.Positional[File]
        """The project's YAML file."""
        db: str = DATABASE
        """The server's database."""

    options = parse("project open", Options, given)
    require_web()
    from custodes.feedback.items import read_items
    from custodes.feedback.project import load_project
    from custodes.web import Database
    from custodes.web.projects import create_project

    project = load_project(options.file)
    if not project.tasks:
        raise InputError(f"{options.file}: the field tasks names no file; the project needs tasks.")
    contents = read_items(project, options.file.parent / project.tasks)
    database = Database(options.db)
    try:
        create_project(database, options.file.read_text(encoding="utf-8"), contents, "command line")
    finally:
        database.close()
    print(f"The project {project.name!r} is open in {options.db} with {len(contents):,} items.")
    return 0


def export(given: list[str]) -> int:
    """Write a project's judgments as training data and for other platforms."""

    @dataclass(frozen=True, kw_only=True)
    class Options:
        """Export a project: preferences with a row per judgment, and aggregated with soft labels."""

        project: str
        """Name of the project."""
        out: Path
        """Folder for the files."""
        db: str = DATABASE
        """The server's database."""
        form: Literal["trl", "argilla", "label-studio", "huggingface"] = "trl"
        """Whose form."""

    options = parse("export", Options, given)
    require_web()
    from custodes.web import Database, export_project
    from custodes.web.database import MissingError

    database = Database(options.db)
    try:
        for path in export_project(database, options.project, options.out, options.form):
            print(path)
    except MissingError as error:
        raise InputError(str(error)) from None
    finally:
        database.close()
    return 0


def import_(given: list[str]) -> int:
    """Add judgments from a file of another platform to a project."""

    @dataclass(frozen=True, kw_only=True)
    class Options:
        """Add judgments from preferences, or from Argilla's or Label Studio's JSON, to a project."""

        file: tyro.conf.Positional[File]
        """File to read."""
        project: str
        """Name of the project."""
        db: str = DATABASE
        """The server's database."""
        form: Literal["preferences", "judgments", "argilla", "label-studio"] = "preferences"
        """Whose form."""

    options = parse("import", Options, given)
    require_web()
    from custodes.web import Database, import_file
    from custodes.web.database import MissingError

    database = Database(options.db)
    try:
        count = import_file(database, options.project, options.file, options.form)
    except MissingError as error:
        raise InputError(str(error)) from None
    finally:
        database.close()
    print(f"{count:,} judgments from {options.file} in the project {options.project!r}.")
    return 0


def require_web() -> None:
    """Raises InputError where the server's packages are not installed."""
    missing = [name for name in ("fastapi", "uvicorn", "argon2") if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(f"the server needs {', '.join(missing)}, not installed here: pip install 'custodes[web]'.")
