"""One process at a time in a folder: two that write the same files would each undo what the other did."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from custodes.types import InputError


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold ``folder``, which is made where it is not there, until the block ends or the process does.

    Raises InputError where nothing can be written into it, and where another process holds it.
    """
    lock = FileLock(folder / ".lock", timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()  # a lock that is there already says nothing of new files
        lock.acquire()
    except Timeout:
        raise InputError(
            f"{folder} is in use by another process; wait until that ends, or choose another folder."
        ) from None
    except OSError as error:
        raise InputError(
            f"output folder {folder} cannot be written to ({error.strerror}); choose another with --out."
        ) from None
    try:
        yield
    finally:
        lock.release()
