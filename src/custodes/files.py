"""Files that are never half written: each is written beside its place, brought to disk, and then moved there."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


@contextmanager
def written_whole(path: str | Path, mode: str = "wb") -> Iterator[IO[Any]]:
    """An open file that takes the place of ``path`` when the block ends without an error.

    Until then ``path`` stays as it was, so a command may read and write one file, and a full disk loses nothing. A link
    keeps pointing where it points, permissions stay, and what is no file (a pipe, a device) is written to directly.
    ``mode`` is "wb", or "w" for UTF-8 text. Raises OSError.
    """
    encoding = None if "b" in mode else "utf-8"
    final = Path(os.path.realpath(path))
    if final.exists() and not final.is_file():
        with final.open(mode, encoding=encoding) as file:
            yield file
        return
    partial = final.with_name(f".{final.name[:200]}.{os.getpid()}.partial")
    try:
        with partial.open(mode, encoding=encoding) as file:
            yield file
            to_disk(file)
        if final.exists():
            shutil.copymode(final, partial)
        partial.replace(final)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    sync_folder(final.parent)


def save_json(path: str | Path, content: object, indent: int | None = 2, allow_nan: bool = True) -> None:
    """Write JSON, whole or not at all; what JSON does not know becomes text. Raises OSError.

    Half of a surrogate pair, which UTF-8 has no bytes for, is written as JSON's escape.
    """
    text = json.dumps(content, indent=indent, ensure_ascii=False, allow_nan=allow_nan, default=str)
    with written_whole(path) as file:
        file.write(f"{text}\n".encode("utf-8", "backslashreplace"))


def to_disk(file: IO[Any]) -> None:
    """Wait until what was written to an open file is on the disk."""
    file.flush()
    os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
