"""What a sandbox is, whichever program isolates it: the limits and the results.

The home folder inside is always ``/home/user``; every path here is relative to it, in POSIX form.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Literal

from custodes.types import InputError

HOME = "/home/user"
MB = 1 << 20

Kind = Literal["auto", "bubblewrap", "docker"]


class SandboxFailure(RuntimeError):  # noqa: N818 (the episode failed, not its caller)
    """The sandbox itself broke: nothing can be said of the command. The episode is to be recorded as failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the commands of one sandbox may use. What goes over is refused or stopped; the sandbox lives on."""

    seconds: float = 10.0
    """Wall-clock time of one command, seconds; then its processes are killed."""

    memory_mb: int = 512
    """Memory, MiB: the address space of each process, and the resident memory of all together."""

    processes: int = 64
    """Processes and threads alive at once, the shell among them."""

    file_mb: int = 16
    """Size of one written file, MiB. Larger ones that were there before are hashed but not read into a snapshot."""

    disk_mb: int = 64
    """Everything in the home folder and in ``/tmp`` together, MiB, and 256 files and folders for each of them."""

    output_bytes: int = 65536
    """Standard output, and again standard error, of one command: what follows is dropped."""

    open_files: int = 256
    """Open files of one process."""

    def __post_init__(self) -> None:
        for option in fields(self):
            value = getattr(self, option.name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9:
                raise InputError(
                    f"limits: {option.name} must be a positive number below a thousand million, not {value!r}"
                )
            if option.name != "seconds" and not isinstance(value, int):
                raise InputError(f"limits: {option.name} must be a whole number, not {value!r}")


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What one command did. Bytes that are no UTF-8 are shown as U+FFFD."""

    stdout: str
    stderr: str
    returncode: int  # 128 + n when signal n ended it, as in bash
    timed_out: bool
    truncated: bool  # more was printed than ``Limits.output_bytes``
    seconds: float  # wall clock


@dataclass(frozen=True, slots=True)
class FileState:
    """One path of a snapshot. Symbolic links are described, never followed."""

    kind: Literal["file", "dir", "symlink", "other"]
    sha256: str  # hex, of the contents, of a link's target; "" of folders, devices and what was too large to read
    size: int  # bytes
    mode: int  # permission bits, e.g. 0o644
    content: bytes | None  # None when larger than ``Limits.file_mb`` or not a regular file
    changed: int = field(default=0, compare=False)
    """When the path was last written, replaced or given another mode, ns on the sandbox's clock: no command can set it back."""
