"""A sandbox as its user sees it, and which program isolates it; without one nothing runs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from types import TracebackType
from typing import Self, get_args

from custodes.environments.sandbox.base import CommandResult, FileState, Kind, Limits, SandboxFailure
from custodes.environments.sandbox.bubblewrap import open_isolated
from custodes.environments.sandbox.client import SupervisorClient
from custodes.environments.sandbox.docker import ContainerClient
from custodes.environments.sandbox.inputs import checked_command, checked_files, checked_read_only, checked_seconds
from custodes.types import InputError


class Sandbox:
    """A private home and one bash shell that lives as long as the episode; a context manager, made by :func:`open_sandbox`.

    Working folder, variables and functions persist from one command to the next. Processes do not: what a command leaves
    running is killed when it ends, so that nothing works unseen between two commands.
    Every method raises :class:`SandboxFailure` when the sandbox itself breaks, and after ``close``.
    """

    def __init__(
        self,
        connect: Callable[[Limits], SupervisorClient],
        files: Mapping[str, bytes],
        dirs: Sequence[str],
        read_only: Sequence[str],
        limits: Limits,
    ) -> None:
        """``connect`` starts an isolated supervisor, one for the home and another for every clean room."""
        self.connect, self.limits = connect, limits
        self._closed = False
        self._supervisor = connect(limits)
        try:
            self._supervisor.open(files, dirs, read_only)
        except BaseException:
            self.close()
            raise

    def run(self, command: str, seconds: float | None = None) -> CommandResult:
        """Run a command in the shell; ``seconds`` in place of ``Limits.seconds``.

        A command that takes longer is killed together with the shell, which is started again in the same folder without its
        variables; the last line of ``stderr`` says so.
        """
        self._must_be_open()
        return self._supervisor.run(checked_command(command), checked_seconds(seconds, self.limits))

    def snapshot(self) -> dict[str, FileState]:
        """Every path below the home folder, read by the host while the shell stands still."""
        self._must_be_open()
        return self._supervisor.snapshot()

    def clean_room(self, files: Mapping[str, bytes], command: str, seconds: float | None = None) -> CommandResult:
        """Run a command in a fresh home that holds just these files, where no process of the episode lives."""
        self._must_be_open()
        contents, most = checked_files(files, (), self.limits), checked_seconds(seconds, self.limits)
        supervisor = self.connect(self.limits)
        try:
            supervisor.open(contents)
            return supervisor.once(checked_command(command), most)
        finally:
            supervisor.close()

    def close(self) -> None:
        """Kill what runs and forget the files. A second time does nothing."""
        if not self._closed:
            self._closed = True
            self._supervisor.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _must_be_open(self) -> None:
        if self._closed:
            raise SandboxFailure("the sandbox is closed")


def open_sandbox(
    files: Mapping[str, bytes | str],
    dirs: Sequence[str] = (),
    *,
    read_only: Collection[str] = (),
    limits: Limits = Limits(),  # noqa: B008 (frozen)
    kind: Kind = "auto",
) -> Sandbox:
    """A fresh home with these files and folders, and a shell in it.

    ``read_only`` paths (a folder stands for all below it) can be neither written nor removed nor replaced.
    "auto" takes bubblewrap where it works, else Docker. Raises InputError where neither does, saying which command
    installs what is missing, and for paths or contents that no home can hold.
    """
    if kind not in get_args(Kind):
        raise InputError(f"sandbox kind {kind!r} must be one of {', '.join(get_args(Kind))}")
    contents = checked_files(files, dirs, limits)
    fixed = checked_read_only(read_only, contents, dirs)
    if kind == "docker":
        return Sandbox(ContainerClient, contents, dirs, fixed, limits)
    try:
        return Sandbox(open_isolated, contents, dirs, fixed, limits)
    except InputError as first:
        if kind == "bubblewrap":
            raise
        try:
            return Sandbox(ContainerClient, contents, dirs, fixed, limits)
        except InputError as second:
            raise InputError(f"no sandbox works here: {first}; {second}") from None
