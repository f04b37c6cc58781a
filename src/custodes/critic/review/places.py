"""Where findings are, for programs: paths from the repository's root, and URIs by RFC 3986 and RFC 8089."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import quote

PART = re.compile(r"#(cell\d+|\d+)$")  # a cell of a notebook, a row of a file of answers
SAFE = "/~!$&'()*+,;=@"
"""What may stand in the path of a URI as it is; the colon, which may not stand in the first part of a relative one, is
escaped everywhere."""


def file_of(name: str) -> str:
    """The file in which something that was reviewed stands."""
    return PART.sub("", name)


def repository_root(folder: str) -> str:
    """The folder that holds ``.git``, at or above ``folder``, as it really is; the current folder where none does."""
    real = Path(os.path.realpath(folder))
    found = next((path for path in (real, *real.parents) if (path / ".git").exists()), None)
    return str(found) if found else os.path.realpath(".")


def repository_path(file: str) -> str:
    """The path of a file from the root of its repository, with slashes; a whole path where it is not below that."""
    real = os.path.realpath(file)
    below = os.path.relpath(real, repository_root(os.path.dirname(real) or "."))
    return Path(real).as_posix() if below.startswith(os.pardir) else Path(below).as_posix()


def uri_of(path: str) -> str:
    """A path as a URI reference: relative where it is relative, else with the scheme ``file``; bytes as they are on disk."""
    escaped = quote(os.fsencode(path), safe=SAFE)
    return f"file://{escaped}" if path.startswith("/") else escaped
