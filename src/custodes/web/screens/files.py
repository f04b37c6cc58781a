"""Styles, scripts and pictures: files of ``static/``, under addresses that change with their content."""

from __future__ import annotations

import hashlib
from pathlib import Path

from fastapi import HTTPException, Response

FOLDER = Path(__file__).parent / "static"
KINDS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def file_address(name: str) -> str:
    """Where the browser gets a file of ``static/``; changes with its content, so that it can be kept for ever."""
    return f"/static/{hashlib.sha256((FOLDER / name).read_bytes()).hexdigest()[:12]}/{name}"


def static(version: str, name: str) -> Response:
    if name not in {file.name for file in FOLDER.iterdir()}:
        raise HTTPException(404)
    kept = {"Cache-Control": "public, max-age=31536000, immutable"}
    return Response((FOLDER / name).read_bytes(), media_type=KINDS[Path(name).suffix], headers=kept)
