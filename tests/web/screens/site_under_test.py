"""A server in a process of its own, as people have it, and people with browsers."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from itertools import count
from pathlib import Path
from typing import Any

import httpx
from argon2 import PasswordHasher
from playwright.sync_api import Browser, Page, expect

from custodes.feedback.items import items_from_rows
from custodes.feedback.project import parse_project
from custodes.types import Judgment
from custodes.web.access import COOKIE
from custodes.web.database import ServerDatabase
from custodes.web.projects import create_project

PASSWORD = "a long password"
PATIENCE = 180_000
"""Milliseconds: machines that run tests are busy."""
expect.set_options(timeout=PATIENCE)


class Site:
    """The server. Its database is open in the test's process too, to fill it and to look what became of things."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "custodes.db"
        quick = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
        self.database = ServerDatabase(self.file, hasher=quick)
        self.database.accounts.create("owner", PASSWORD, "lead")  # so that the server invites nobody
        self._numbers = count(1)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "custodes", "serve", "--db", str(self.file), "--port", str(self.port)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 300
        while self.process.poll() is None and time.monotonic() < deadline:
            try:
                if httpx.get(f"{self.address}/api/health").status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.1)
        raise AssertionError("the server did not start")

    def kill(self) -> None:
        """Without a chance to tidy up."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        self.kill()
        self.database.close()

    def session(self, role: Any = "annotator") -> str:
        """The session's secret of somebody new."""
        name = f"p{next(self._numbers)}"
        self.database.accounts.create(name, PASSWORD, role)
        return self.database.accounts.log_in(name, PASSWORD, "here")[1].secret

    def visitor(self, browser: Browser, role: Any = "annotator", **options: Any) -> Page:
        """A browser's page in which somebody new is signed in."""
        context = browser.new_context(**({"viewport": {"width": 1280, "height": 860}} | options))
        context.add_cookies([{"name": COOKIE, "value": self.session(role), "url": self.address}])
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        return page

    def project(self, questions: str, rows: list[dict[str, Any]], more: str = "") -> str:
        """A new project's name."""
        name = f"project-{next(self._numbers)}"
        text = (
            f"name: {name}\ntitle: Project {name}\ntasks: ''\n"
            "guidelines: {version: '7', text: 'Be **fair**.'}\nmembers: everybody\n"
            "assignment: {overlap: 2, gold_share: 0.0, repeat_share: 0.0}\n"
            f"questions: {questions}\n{more}\n"
        )
        create_project(self.database, text, items_from_rows(parse_project(text), rows), "test")
        return name

    def open(self, page: Page, project: str) -> None:
        """Goes to work; the page has its focus, which it gives itself as the last thing."""
        page.goto(f"{self.address}/work/{project}")
        expect(page.locator("[data-hand-in]")).to_be_visible()
        expect(page.locator("#main > h1")).to_be_focused()

    def judgments(self, project: str, at_least: int = 1) -> list[Judgment]:
        """What is in the ledger, as soon as there are so many."""
        ledger = self.database.ledger
        run = next(run.id for run in ledger.runs() if run.recipe == f"project {project}")
        deadline = time.monotonic() + PATIENCE / 1000
        while len(found := list(ledger.judgments(run))) < at_least:
            assert time.monotonic() < deadline, f"{len(found)} judgments"
            time.sleep(0.05)
        return found
