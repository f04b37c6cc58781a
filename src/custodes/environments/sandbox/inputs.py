"""What a person may give a sandbox: paths that stay in the home, contents that fit, commands that a shell can read."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import PurePosixPath

from custodes.environments.sandbox.base import MB, Limits
from custodes.types import InputError

LONGEST_NAME, LONGEST_PATH = 255, 4000  # bytes; Linux: NAME_MAX, and PATH_MAX less the home
LONGEST_COMMAND = 1 << 20  # bytes


def checked_files(files: Mapping[str, bytes | str], dirs: Sequence[str], limits: Limits) -> dict[str, bytes]:
    """The files as bytes. Raises InputError for what cannot be made."""
    contents = {}
    for path, content in files.items():
        _check_path(path, "file")
        if not isinstance(content, bytes | str):
            raise InputError(f"sandbox file {path!r} must be text or bytes, not {type(content).__name__}")
        contents[path] = content if isinstance(content, bytes) else content.encode("utf-8", "surrogateescape")
    for path in dirs:
        _check_path(path, "folder")
    folders = set(dirs) | {above for path in (*files, *dirs) for above in _above_of(path)}
    if both := sorted(folders & set(files)):
        raise InputError(f"sandbox path {both[0]!r} cannot be a file and a folder at once")
    size = sum(len(c) for c in contents.values())
    if size > limits.disk_mb * MB:
        raise InputError(f"the sandbox's files hold {size:,} bytes, more than its disk_mb of {limits.disk_mb}")
    if len(contents) + len(folders) > 128 * limits.disk_mb:
        raise InputError(f"a sandbox with a disk_mb of {limits.disk_mb} holds at most {128 * limits.disk_mb} paths")
    return contents


def checked_read_only(read_only: Collection[str], files: Mapping[str, bytes], dirs: Sequence[str]) -> list[str]:
    """Paths that exist, none below another. Raises InputError."""
    if isinstance(read_only, str):
        raise InputError(f"read_only must be a list of paths, not the text {read_only!r}")
    there = {*files, *dirs, *(above for path in (*files, *dirs) for above in _above_of(path))}
    if missing := sorted(set(read_only) - there):
        raise InputError(f"read-only path {missing[0]!r} is neither a file nor a folder of this sandbox")
    return sorted(path for path in set(read_only) if not set(_above_of(path)) & set(read_only))


def checked_command(command: str) -> str:
    """Raises InputError for what no shell can be given."""
    if not isinstance(command, str):
        raise InputError(f"a command must be text, not {type(command).__name__}")
    if "\0" in command:
        raise InputError("a command must not contain the character NUL: the shell cannot read it")
    if len(command.encode("utf-8", "surrogatepass")) > LONGEST_COMMAND:
        raise InputError(f"a command may have at most {LONGEST_COMMAND:,} bytes, not {len(command):,} characters")
    return command


def checked_seconds(seconds: float | None, limits: Limits) -> float:
    """The time of one command. Raises InputError."""
    if seconds is None:
        return limits.seconds
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < math.inf:
        raise InputError(f"the seconds of a command must be a positive number, not {seconds!r}")
    return seconds


def _above_of(path: str) -> list[str]:
    """The folders that a path lies in."""
    return [str(p) for p in PurePosixPath(path).parents if str(p) != "."]


def _check_path(path: str, what: str) -> None:
    problem = None
    if not isinstance(path, str) or not path:
        problem = "must be a text that is not empty"
    elif path.startswith("/") or any(part in ("", ".", "..") for part in path.split("/")):
        problem = "must be relative to the home folder, without '.', '..' or empty parts"
    elif "\0" in path:
        problem = "must not contain the character NUL"
    elif len(path.encode("utf-8", "surrogatepass")) > LONGEST_PATH:
        problem = f"must have at most {LONGEST_PATH} bytes"
    elif max(len(part.encode("utf-8", "surrogatepass")) for part in path.split("/")) > LONGEST_NAME:
        problem = f"must have names of at most {LONGEST_NAME} bytes"
    if problem:
        shown = repr(path)
        raise InputError(f"sandbox {what} {shown if len(shown) < 80 else shown[:77] + '...'} {problem}")
