"""A server in the test's process, with people and a project."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from argon2 import PasswordHasher
from fastapi.testclient import TestClient

from custodes.feedback import project as project_files
from custodes.feedback.items import items_from_rows
from custodes.feedback.project import parse_project
from custodes.web.access import CSRF
from custodes.web.app import create_app
from custodes.web.database import ServerDatabase
from custodes.web.projects import create_project

PASSWORD = "a long password"
TEMPLATE = project_files.TEMPLATE.replace("members: listed  ", "members: everybody")
PROJECT = (
    TEMPLATE.replace("overlap: 3 ", "overlap: 2 ")
    .replace("gold_share: 0.1", "gold_share: 0.0")
    .replace("repeat_share: 0.05", "repeat_share: 0.0")  # drawn by account ids, which differ from run to run
)


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Person:
    client: TestClient
    account: str
    clock: Clock

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Who says that they have worked for some seconds has let them pass."""
        if isinstance(body, dict) and isinstance(body.get("seconds"), float):
            self.clock.now += body["seconds"]
        return self.client.request(method, f"/api{path}", json=body)


class Server:
    def __init__(self, where: str) -> None:
        self.clock = Clock()
        quick = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)  # real argon2, with less work
        self.database = ServerDatabase(where, self.clock, quick)
        self.app = create_app(self.database, requests_a_minute=100_000)

    def person(self, name: str, role: Any = "annotator", profile: dict[str, Any] | None = None) -> Person:
        """Somebody with an account, signed in."""
        client = self.client()
        invitation = self.database.accounts.invite(role, "test", profile)
        joined = client.post("/api/join", json={"invitation": invitation, "name": name, "password": PASSWORD})
        assert joined.status_code == 201, joined.text
        signed = client.post("/api/sign-in", json={"name": name, "password": PASSWORD})
        assert signed.status_code == 200, signed.text
        client.headers[CSRF] = signed.json()["csrf"]
        return Person(client, joined.json()["account"], self.clock)

    def client(self) -> TestClient:
        return TestClient(self.app, raise_server_exceptions=True)

    def project(self, text: str = PROJECT, tasks: int = 4, **columns: object) -> None:
        # answers of equal length: a bias towards longer ones would explain the same judgments
        rows = [{"prompt": f"Question {n}?", "answers": [f"good {n}", f"evil {n}"], **columns} for n in range(tasks)]
        create_project(self.database, text, items_from_rows(parse_project(text), rows), "test")


def better_left(person: Person, item: dict[str, Any], seconds: float = 12.0, **more: object) -> Any:
    """Hands in a preference for the good answer, wherever it is shown."""
    left = item["answers"][0][0]["content"].startswith("good")
    answers = [{"question": 1, "verdict": "prefer", "strength": 2 if left else -2}]
    return person.call(
        "POST", f"/assignments/{item['assignment']}/judgments", {"answers": answers, "seconds": seconds, **more}
    )
