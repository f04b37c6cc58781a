"""Files and folders that are never half written: each is written beside its place, brought to disk, and then moved there.

No other file of the package replaces or renames anything by hand.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
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
        move_into_place(partial, final)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


@contextmanager
def folder_written_whole(folder: Path) -> Iterator[Path]:
    """An empty folder that takes the place of ``folder``, with what the block put into it, when that ends without an error.

    What an interrupted attempt left is removed. Raises OSError.
    """
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        yield partial
        for inside in partial.rglob("*"):
            _sync(inside)
        _sync(partial)
        move_into_place(partial, folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def take_over(source: Path, into: Path, ignore: tuple[str, ...] = ()) -> None:
    """A copy of a finished folder, whole or not at all, in place of what was there; ``ignore`` are patterns of names."""
    with folder_written_whole(into) as partial:
        shutil.copytree(source, partial, ignore=shutil.ignore_patterns(*ignore), dirs_exist_ok=True)


def move_into_place(source: Path, target: Path) -> Path:
    """Give a file or folder that is on the disk the name ``target`` of the same file system, in place of what was there.

    A folder that was there is renamed before it is removed: a process that is killed meanwhile leaves ``target`` whole
    or gone, and the next one that writes it removes the rest.
    """
    replaced = target.with_name(f".{target.name}.replaced")
    shutil.rmtree(replaced, ignore_errors=True)
    if target.is_dir():
        target.replace(replaced)
    source.replace(target)
    _sync(target.parent)
    shutil.rmtree(replaced, ignore_errors=True)
    return target


def save_text(path: str | Path, text: str) -> None:
    """Write text in UTF-8, whole or not at all. Raises OSError.

    Half of a surrogate pair, which UTF-8 has no bytes for, is written as JSON's escape.
    """
    with written_whole(path) as file:
        file.write(text.encode("utf-8", "backslashreplace"))


def plain_json(value: Any) -> Any:
    """What JSON can hold of a value: dataclasses become objects, numpy's numbers Python's, paths text, and numbers that
    are not finite None. What has a method ``to_dict`` says itself what there is."""
    if hasattr(value, "to_dict"):
        return plain_json(value.to_dict())
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain_json(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {name: plain_json(held) for name, held in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(held) for held in value]
    if hasattr(value, "tolist"):  # numpy scalar or array
        return plain_json(value.tolist())
    if isinstance(value, Path):
        return str(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def save_json(path: str | Path, content: object, indent: int | None = 2, allow_nan: bool = True) -> None:
    """Write JSON, whole or not at all; what JSON does not know becomes text. Raises OSError."""
    text = json.dumps(content, indent=indent, ensure_ascii=False, allow_nan=allow_nan, default=str)
    save_text(path, f"{text}\n")


def to_disk(file: IO[Any]) -> None:
    """Wait until what was written to an open file is on the disk."""
    file.flush()
    os.fsync(file.fileno())


def _sync(path: Path) -> None:
    """Wait until a file's content, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
