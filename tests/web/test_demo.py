"""``custodes serve --demo``: one command, and everything is there to look at."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import httpx
import pytest
from server_process import ServerProcess, free_port
from web_server import Server

from custodes import registry
from custodes.cli import main
from custodes.feedback.project import load_project
from custodes.web import oversight
from custodes.web.access import CSRF
from custodes.web.accounts import ACCOUNT_ROLES, RefusedError
from custodes.web.demo import FOLDER, load_demo
from custodes.web.desk import quality_of


def test_every_kind_of_question_is_in_the_demo():
    projects = [load_project(file) for file in FOLDER.glob("*.yaml")]
    assert {question.kind for project in projects for question in project.questions} == set(registry.kind.names())
    assert any(project.assisted for project in projects)


def test_whoever_signs_in_finds_something_to_do(server: Server):
    password, projects = load_demo(server.database)
    clients = {}
    for name in ACCOUNT_ROLES:
        clients[name] = server.client()
        signed = clients[name].post("/api/sign-in", json={"name": name, "password": password})
        clients[name].headers[CSRF] = signed.json()["csrf"]
    for project in projects:
        item = clients["annotator"].post(f"/api/projects/{project}/next").json()["item"]
        assert item is not None, project
    quality = quality_of(server.database, "helpful")
    assert len(quality["people"]) == 4
    assert quality["judgments"]["comparison"] > 40
    assert len(oversight.waiting(server.database)) == 3
    assert server.database.ledger.verify().ok
    with pytest.raises(RefusedError, match="is taken"):
        load_demo(server.database)


def test_one_command_and_a_browser_can_come(tmp_path: Path):
    with ServerProcess(None, tmp_path, "--demo") as server:
        said = server.said.read_text()
        assert httpx.get(f"{server.address}/sign-in").status_code == 200
    assert re.search(r"password of all of them is demo-[0-9a-f]{8}", said)
    assert f"Sign in at {server.address} as annotator, reviewer, lead or auditor." in said


def test_what_cannot_be_served_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        for arguments, said in (
            (["--db", str(tmp_path / "a.db"), "--port", str(held.getsockname()[1])], "cannot be used"),
            (["--db", str(tmp_path / "a.db"), "--host", "256.1.1.1"], "cannot be used"),
            (["--db", str(tmp_path / "a.db"), "--port", "99999"], "from 1 to 65535"),
            (["--db", "postgresql://nobody@127.0.0.1:1/none", "--port", str(free_port())], "cannot be reached"),
            (["--db", str(tmp_path), "--port", str(free_port())], "is a folder"),
            (["--oidc-issuer", "https://example.org"], "all three"),
        ):
            assert main(["serve", *arguments]) == 2
            _, err = capsys.readouterr()
            assert said in err, err
            assert err.count("\n") == 1
