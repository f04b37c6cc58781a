"""Which program builds the walls; and that without one nothing runs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import get_args

from custodes.environments.sandbox.base import Kind, Limits, Sandbox
from custodes.environments.sandbox.bubblewrap import open_room
from custodes.environments.sandbox.docker import Container
from custodes.environments.sandbox.inputs import checked_files, checked_read_only
from custodes.environments.sandbox.rooms import RoomSandbox
from custodes.types import InputError


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
        return RoomSandbox(Container, contents, dirs, fixed, limits)
    try:
        return RoomSandbox(open_room, contents, dirs, fixed, limits)
    except InputError as first:
        if kind == "bubblewrap":
            raise
        try:
            return RoomSandbox(Container, contents, dirs, fixed, limits)
        except InputError as second:
            raise InputError(f"no sandbox works here: {first}; {second}") from None
