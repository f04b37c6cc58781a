"""What the command line says, and how."""

import errno
import os
import sys
import warnings
from typing import Any

NOTES: list[str] = []
"""What the command that runs has warned of, in the order in which it did."""


def keep_notes() -> None:
    """From here on every warning is one sentence on stderr, said once, and kept in ``NOTES`` for the command's JSON."""
    NOTES.clear()
    shown = warnings.showwarning

    def keep(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        sentence = " ".join(str(message).split())
        if sentence in NOTES:
            return
        if issubclass(category, UserWarning):
            NOTES.append(sentence)
        shown(message, category, *where, **more)

    warnings.simplefilter("always", UserWarning)  # a filter hides them from people; the JSON has them all the same
    warnings.showwarning = keep  # type: ignore[assignment]
    warnings.formatwarning = lambda message, *where, **more: f"Note: {' '.join(str(message).split())}\n"


def complain(sentence: str, code: int) -> int:
    print(f"custodes: {' '.join(sentence.split())}", file=sys.stderr)
    return code


def forget_output() -> None:
    """What could not be printed is not tried again when Python ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


FULL = (errno.ENOSPC, errno.EDQUOT)
CLOSED = (errno.EACCES, errno.EEXIST, errno.EPERM, errno.EROFS, errno.ENOENT, errno.EISDIR, errno.ENOTDIR)


def storage_problem(error: BaseException) -> str | None:
    """A sentence about a full disk or a file that cannot be used; None for any other error."""
    number = error.errno if isinstance(error, OSError) else None
    if number in FULL or "No space left" in str(error):  # some libraries raise errors of their own
        return "the disk is full; free some space and run the same command again (what was recorded is kept)."
    if isinstance(error, OSError) and number in CLOSED and error.filename is not None:
        return f"{error.filename} cannot be used ({error.strerror}); choose another file or folder."
    if "disk I/O error" in str(error):  # SQLite's words
        return "a disk failed while a file was read or written; see to it, and run the same command again."
    return storage_problem(error.__context__) if error.__context__ is not None else None
