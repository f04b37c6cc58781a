"""A private PostgreSQL server for the tests, started from Debian's binaries and gone with the test process."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from debian import Unavailable, install

__all__ = ["Server", "Unavailable", "server"]
USER = "postgres"  # the server refuses to run as root; Debian's package brings this user


class Server:
    """A running server that listens on a socket in ``folder``."""

    def __init__(self, binaries: Path, folder: Path) -> None:
        self._psql = binaries / "psql"
        self._folder = folder
        self._names = (f"ledger_{i}" for i in count())

    def url(self, database: str) -> str:
        return f"postgresql://{USER}@/{database}?host={self._folder}"

    def new_database(self) -> str:
        """URL of a fresh, empty database."""
        name = next(self._names)
        self.run(f"CREATE DATABASE {name} ENCODING 'UTF8' TEMPLATE template0")
        return self.url(name)

    def run(self, sql: str, url: str | None = None) -> None:
        command = [self._psql, "-d", url or self.url("postgres"), "-qc", sql]
        subprocess.run(command, check=True, capture_output=True, timeout=60)


@contextmanager
def server(fsync: bool = False) -> Iterator[Server]:
    """Start a server for the time of the block; without ``fsync`` it is fast and does not survive a power cut.

    Raises Unavailable where that is impossible.
    """
    binaries = _binaries() or _installed()
    folder = Path(tempfile.mkdtemp(prefix="pg_", dir="/tmp"))  # a socket's path may have 107 bytes
    process = None
    try:
        as_user: list[str] = []
        if os.geteuid() == 0:
            shutil.chown(folder, USER, USER)
            as_user = [f"--reuid={USER}", f"--regid={USER}", "--init-groups"]
        initdb = ["setpriv", *as_user, binaries / "initdb", "-D", folder / "data", "-U", USER, "-A", "trust", "-N"]
        subprocess.run(initdb, check=True, capture_output=True, timeout=120, cwd=folder)
        settings = ["listen_addresses=", f"unix_socket_directories={folder}", f"fsync={'on' if fsync else 'off'}"]
        process = subprocess.Popen(
            [
                *("setpriv", *as_user, "--pdeathsig=QUIT"),  # a killed test run leaves no server behind
                *(binaries / "postgres", "-D", folder / "data"),
                *(part for setting in settings for part in ("-c", setting)),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=folder,
        )
        started = Server(binaries, folder)
        _wait(started, process)
        yield started
    finally:
        if process:
            process.terminate()
            try:
                process.wait(5)  # a smart stop waits for clients
            except subprocess.TimeoutExpired:
                process.send_signal(3)  # an immediate one does not
                process.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


def _binaries() -> Path | None:
    """The newest server on this machine."""
    found = [p.parent for p in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    return max(found, key=lambda p: float(p.parent.name), default=None)


def _installed() -> Path:
    install("PostgreSQL", "postgresql")
    binaries = _binaries()
    if not binaries:
        raise Unavailable("Debian's postgresql package left no server in /usr/lib/postgresql")
    return binaries


def _wait(started: Server, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            return started.run("SELECT 1")
        except subprocess.CalledProcessError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise Unavailable(f"the PostgreSQL server did not start: {error.stderr.decode()[-300:]}") from None
            time.sleep(0.1)
