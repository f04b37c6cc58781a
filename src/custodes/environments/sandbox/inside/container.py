"""The one sandbox of a Docker container: its supervisor is the container's first process and speaks over its pipes."""

from __future__ import annotations

import os
import signal

from . import isolation, scripts, supervisor
from .protocol import Channel


def main() -> None:
    channel = Channel(os.dup(0), os.dup(1))
    null = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    scripts.warm()
    supervisor.supervise(channel, isolation.Container(), os.environ["PATH"])
