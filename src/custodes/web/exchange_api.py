"""Addresses through which data leaves the server and comes in, and the description of all of them."""

from __future__ import annotations

import tempfile
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import Request, Response
from pydantic import Field

from custodes.types import InputError
from custodes.web.access import EVERYBODY, LEADS, READERS, AccountOf, DatabaseOf, Routes, Rule
from custodes.web.bodies import Body
from custodes.web.export import export_project
from custodes.web.imports import import_file
from custodes.web.members import require_seen

route = Routes("/api")


class Import(Body):
    """A file's content."""

    content: Annotated[str, Field(min_length=1, max_length=50_000_000)]
    ending: Literal[".jsonl", ".json"] = ".jsonl"
    """How the file's name ends, which says what it is; nothing else of its name matters."""
    form: Literal["preferences", "judgments", "argilla", "label-studio"] = "preferences"


@route("GET", "/openapi.json", Rule(EVERYBODY, "read"))
def description(request: Request) -> dict[str, Any]:
    """The OpenAPI description of the server, with who may call what in "x-access"."""
    found: dict[str, Any] = request.app.openapi()
    return found


@route(
    "GET",
    "/projects/{name}/export/{form}",
    Rule(READERS, "read"),
    response_class=Response,
    responses={200: {"content": {"application/zip": {}}}},
)
def export(name: str, form: str, account: AccountOf, database: DatabaseOf) -> Response:
    """A project's training data, as `custodes project export` writes it, in a zip file. Forms: trl, huggingface, argilla, label-studio."""
    with database.reading() as connection:
        require_seen(connection, name, account)
    with tempfile.TemporaryDirectory() as folder:
        files = export_project(database, name, Path(folder), form, account.id)
        packed = BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in files:
                archive.write(file, file.name)
    headers = {"Content-Disposition": f'attachment; filename="{name}-{form}.zip"'}
    return Response(packed.getvalue(), media_type="application/zip", headers=headers)


@route("POST", "/projects/{name}/import", Rule(LEADS, "manage"), status_code=201)
def import_(name: str, body: Import, account: AccountOf, database: DatabaseOf) -> dict[str, Any]:
    """Adds the judgments of a file to a project; how many. All of it or none, and the same file again changes nothing."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"file{body.ending}"
        path.write_text(body.content, encoding="utf-8")
        try:
            return {"judgments": import_file(database, name, path, body.form, account.id)}
        except InputError as error:
            raise InputError(str(error).replace(f"{folder}/", "")) from None
