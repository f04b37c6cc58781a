"""The server as people run it: ``custodes serve`` in a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
from argon2 import PasswordHasher

from custodes.feedback.items import items_from_rows
from custodes.feedback.project import parse_project
from custodes.web.accounts import SCOPES, AccountRole
from custodes.web.database import ServerDatabase
from custodes.web.projects import create_project

QUICK = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)  # real argon2, with less work


class ServerProcess:
    """A server on a database, which can be killed and started again. Use with ``with``."""

    def __init__(self, db: str | None, folder: Path, *arguments: str, port: int | None = None) -> None:
        self.db, self.arguments = db, arguments
        self.port = port or free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.said = folder / f"server-{self.port}.txt"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, wait: bool = True) -> None:
        command = [sys.executable, "-m", "custodes", "serve", "--port", str(self.port)]
        command += ["--db", self.db] if self.db is not None else []
        with self.said.open("ab") as said:
            self.process = subprocess.Popen(
                [*command, *self.arguments],
                stdout=said,
                stderr=said,
                env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
            )
        if wait:
            self.wait()

    def wait(self, seconds: float = 300.0) -> None:
        """Until it answers."""
        assert self.process is not None
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.said.read_text()
            try:
                if httpx.get(f"{self.address}/api/health", timeout=5).status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.05)
        raise AssertionError(f"the server did not start: {self.said.read_text()}")

    def kill(self) -> None:
        """SIGKILL: nothing is said goodbye to."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def __enter__(self) -> ServerProcess:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def tokens(db: str, people: dict[str, AccountRole]) -> dict[str, str]:
    """An account for everybody, and a token that may do whatever the role may."""
    database = ServerDatabase(db, hasher=QUICK)
    found = {}
    for name, role in people.items():
        account = database.accounts.create(name, "a long password", role)
        _, found[name] = database.accounts.create_token(account.id, "test", SCOPES)
    database.close()
    return found


def sessions(db: str, people: list[str]) -> list[str]:
    """The secret of a session for everybody, as a browser's cookie holds it."""
    database = ServerDatabase(db, hasher=QUICK)
    found = [database.accounts.log_in(name, "a long password", "here")[1].secret for name in people]
    database.close()
    return found


def open_project(db: str, text: str, tasks: int, answers: dict[int, list[str]] | None = None) -> None:
    """A project of simple questions; ``answers`` are those of some of them."""
    plain = {n: [f"good {n}", f"evil {n}"] for n in range(tasks)}
    rows = [{"prompt": f"Question {n}?", "answers": (answers or {}).get(n, plain[n])} for n in range(tasks)]
    database = ServerDatabase(db, hasher=QUICK)
    create_project(database, text, items_from_rows(parse_project(text), rows), "test")
    database.close()
