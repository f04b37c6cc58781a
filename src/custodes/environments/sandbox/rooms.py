"""A sandbox as its user sees it: a room behind somebody's walls, another for every clean room."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

from custodes.environments.sandbox.base import CommandResult, FileState, Limits, SandboxFailure
from custodes.environments.sandbox.inputs import checked_command, checked_files, checked_seconds
from custodes.environments.sandbox.warden import Warden


class RoomSandbox:
    """A room that ``open_room`` makes, with these files. Made by :func:`custodes.environments.sandbox.open_sandbox`."""

    def __init__(
        self,
        open_room: Callable[[Limits], Warden],
        files: Mapping[str, bytes],
        dirs: Sequence[str],
        read_only: Sequence[str],
        limits: Limits,
    ) -> None:
        self.open_room, self.limits = open_room, limits
        self._closed = False
        self._room = open_room(limits)
        try:
            self._room.open(files, dirs, read_only)
        except BaseException:
            self.close()
            raise

    def run(self, command: str, seconds: float | None = None) -> CommandResult:
        self._must_be_open()
        return self._room.run(checked_command(command), checked_seconds(seconds, self.limits))

    def snapshot(self) -> dict[str, FileState]:
        self._must_be_open()
        return self._room.snapshot()

    def clean_room(self, files: Mapping[str, bytes], command: str, seconds: float | None = None) -> CommandResult:
        self._must_be_open()
        contents, most = checked_files(files, (), self.limits), checked_seconds(seconds, self.limits)
        room = self.open_room(self.limits)
        try:
            room.open(contents)
            return room.once(checked_command(command), most)
        finally:
            room.close()

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._room.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _must_be_open(self) -> None:
        if self._closed:
            raise SandboxFailure("the sandbox is closed")
