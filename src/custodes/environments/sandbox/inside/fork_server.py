"""Where sandboxes are born: one warm Python inside bubblewrap, forked into new namespaces for every sandbox.

Starting bubblewrap and Python for every episode costs 20 ms; a fork into new namespaces costs 2. The fork server
never sees a file or a command of any sandbox: the host talks to each supervisor over a socket of its own.
"""

from __future__ import annotations

import gc
import os
import signal
import socket

from . import isolation, kernel, scripts, supervisor
from .protocol import Channel


def main() -> None:
    host = socket.socket(fileno=os.dup(0))
    null = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the first process of a sandbox ignores it only without a handler
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for a sandbox
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")  # where memory runs out, sandboxes go first
    scripts.warm()
    gc.disable()  # a collection in a fork would copy all that it visits
    gc.freeze()
    path = os.environ["PATH"]
    Channel(host).send({"ok": True})
    while True:
        message, fds, _, _ = socket.recv_fds(host, 1, 1)
        if not message:
            os._exit(0)  # the host is gone, and everything in here with it
        os.set_inheritable(fds[0], False)  # no command may find it
        connection = socket.socket(fileno=fds[0])
        try:
            born = kernel.clone()
        except OSError as error:
            Channel(connection).send({"error": str(error)})
            born = -1
        if born == 0:
            host.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _live(connection, path)
        connection.close()


def _live(connection: socket.socket, path: str) -> None:
    """Be the supervisor of a new sandbox. Does not return."""
    channel = Channel(connection)
    try:
        supervisor.supervise(channel, isolation.Namespaces(), path)
    except BaseException as error:
        channel.send({"error": f"{type(error).__name__}: {error}"})
    finally:
        os._exit(1)
