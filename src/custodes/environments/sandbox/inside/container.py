"""The one room of a Docker container: its warden is the container's first process and speaks over its pipes."""

from __future__ import annotations

import os
import signal

from . import room, scripts, walls
from .wire import Channel


def main() -> None:
    channel = Channel(os.dup(0), os.dup(1))
    null = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    scripts.warm()
    room.keep(channel, walls.Container(), os.environ["PATH"])
