"""The cache of prepared models: folders that appear whole by one rename, and are checked by digest when they are used."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from rich.console import Console

from custodes.files import move_into_place, save_json
from custodes.types import InputError

MARKER = "prepared.json"
"""Written last: what the folder was made of, and the SHA-256 of each of its files."""


def cache_folder() -> Path:
    """``$CUSTODES_CACHE``, else ``custodes`` in ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    if chosen := os.environ.get("CUSTODES_CACHE"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "custodes"


def models_folder() -> Path:
    """Where prepared models are: one folder each."""
    return cache_folder() / "models"


def prepared(folder: Path, source: Mapping[str, str], make: Callable[[Path, Path], None]) -> Path:
    """``folder`` of the cache, made of ``source`` by ``make(work, staged)`` unless it is there and whole.

    ``make`` fills ``staged``; ``work`` is a folder beside it for what it needs meanwhile, kept when it fails. Safe to call
    from several processes at once: one prepares the folder, the others wait. A damaged folder is made again, with a warning.
    Raises InputError where the cache cannot be written.
    """
    if _is_whole(folder, source):  # asked before the lock: a ready cache may be read-only
        return folder
    with _storage_errors():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _lock(folder.with_name(f"{folder.name}.lock"), folder.name):
            if not _is_whole(folder, source, say=True):
                work = folder.with_name(f"{folder.name}.partial")
                work.mkdir(exist_ok=True)
                staged = work / "model"
                shutil.rmtree(staged, ignore_errors=True)
                make(work, staged)
                files = sorted(file for file in staged.iterdir() if file.is_file())
                marker = {**source, "files": {file.name: sha256(file) for file in files}}
                save_json(staged / MARKER, marker)
                move_into_place(staged, folder)  # also of a damaged folder, or of one of an earlier release
                shutil.rmtree(work, ignore_errors=True)
    return folder


def _is_whole(folder: Path, source: Mapping[str, str], say: bool = False) -> bool:
    """Whether the folder was made of ``source`` and each of its files is as it was written."""
    try:
        marker = json.loads((folder / MARKER).read_text())
        if any(marker.get(key) != value for key, value in source.items()):
            return False
        expected: dict[str, str] = marker["files"]
        found = dict(zip(expected, digests([folder / name for name in expected]), strict=True))
    except (OSError, ValueError, KeyError, AttributeError):
        return False
    damaged = [name for name, digest in found.items() if digest != expected[name]]
    if damaged and say:
        warnings.warn(f"{folder / damaged[0]} is damaged; this cached model is made again.", stacklevel=4)
    return not damaged


def digests(files: Sequence[Path]) -> list[str]:
    """SHA-256 of files of one folder. One whose size, times and inode are as they were at the last call is not read again."""
    folder = files[0].parent.resolve()
    known_file = (
        cache_folder() / "digests" / f"{hashlib.blake2b(str(folder).encode(), digest_size=12).hexdigest()}.json"
    )
    known: dict[str, list[Any]] = {}
    with suppress(OSError, ValueError):
        known = dict(json.loads(known_file.read_text()))
    now = dict(known)
    for file in files:
        stat = file.stat()
        state = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
        if known.get(file.name, [])[:4] != state:
            now[file.name] = [*state, sha256(file)]
    if now != known:
        with suppress(OSError):  # a cache that cannot be written: everything is read again next time
            known_file.parent.mkdir(parents=True, exist_ok=True)
            save_json(known_file, now)
    return [str(now[file.name][4]) for file in files]


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _lock(path: Path, name: str) -> Iterator[None]:
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        Console(stderr=True).print(f"Another process is preparing {name}; waiting for it.")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _storage_errors() -> Iterator[None]:
    """A full or read-only cache folder is the user's to mend: say which folder, and what would help."""
    cache = cache_folder()
    try:
        yield
    except Exception as error:
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        if full or "No space left" in str(error):  # safetensors reports a full disk in its own exception
            raise InputError(
                f"the cache folder {cache} is full: preparing a model takes two bytes there for each of its weights, and its "
                "file (the embedded one about 500 MB); free some space, or set CUSTODES_CACHE to a folder with more."
            ) from error
        if isinstance(error, OSError):
            raise InputError(
                f"the cache folder {cache} cannot be written ({error.strerror}); set CUSTODES_CACHE to one that can."
            ) from error
        raise
