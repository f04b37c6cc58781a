"""Reading a folder that an opponent filled: nothing outside it is ever opened, and no trick makes it endless."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

DEEPEST = 200  # levels; a descriptor is held for each. Deeper folders are listed and not entered
OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
Row = tuple[str, str, str, int, int, "bytes | None", int]
"""path, kind, sha256, size, mode, content, when it was last written, replaced or given another mode (ns)"""


def walk(root: int, file_limit: int, total_limit: int) -> Iterator[Row]:
    """Every path below the folder that the descriptor ``root`` stands for, parents first, in the order of names.

    Files of more than ``file_limit`` bytes are hashed without being kept; once ``total_limit`` bytes have been read,
    as sparse files make possible, no more are, and the hash of the rest is "". Raises PermissionError where the
    owner has closed something to us (mode 000).
    """
    left = total_limit

    def read(fd: int, size: int) -> tuple[str, bytes | None]:
        nonlocal left
        if size > left:
            return "", None
        left -= size
        digest, parts = hashlib.sha256(), []
        while part := os.read(fd, 1 << 20):
            digest.update(part)
            if size <= file_limit:
                parts.append(part)
        return digest.hexdigest(), b"".join(parts) if size <= file_limit else None

    def folder(fd: int, prefix: str, depth: int) -> Iterator[Row]:
        with os.scandir(fd) as entries:
            names = sorted(entry.name for entry in entries)
        for name in names:
            path = prefix + name
            status = os.lstat(name, dir_fd=fd)
            mode, changed = stat.S_IMODE(status.st_mode), status.st_ctime_ns
            if stat.S_ISREG(status.st_mode):
                with _opened(name, fd) as file:
                    sha, content = read(file, status.st_size)
                yield path, "file", sha, status.st_size, mode, content, changed
            elif stat.S_ISDIR(status.st_mode):
                yield path, "dir", "", 0, mode, None, changed
                if depth < DEEPEST:
                    with _opened(name, fd) as inner:
                        yield from folder(inner, path + "/", depth + 1)
            elif stat.S_ISLNK(status.st_mode):
                target = os.fsencode(os.readlink(name, dir_fd=fd))
                yield path, "symlink", hashlib.sha256(target).hexdigest(), len(target), mode, None, changed
            else:
                yield path, "other", "", 0, mode, None, changed

    yield from folder(root, "", 1)


@contextmanager
def _opened(name: str, folder: int) -> Iterator[int]:
    fd = os.open(name, OPEN, dir_fd=folder)
    try:
        yield fd
    finally:
        os.close(fd)
