"""Whatever is sent to whatever address, nothing breaks: requests made from the OpenAPI description, and hostile ones by hand."""

from __future__ import annotations

import io
import itertools
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import postgres
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from web_server import PROJECT, Person, Server, better_left

from custodes.web.accounts import SCOPES
from custodes.web.bodies import Body


@pytest.fixture(scope="module")
def fuzzed(postgres_server: postgres.Server) -> Iterator[tuple[Server, Person, dict[str, str], str]]:
    """A server on PostgreSQL, which is stricter about texts; a lead and their token; an assignment of theirs."""
    server = Server(postgres_server.new_database())
    server.project()
    lead = server.person("lead", "lead")
    _, token = server.database.accounts.create_token(lead.account, "fuzz", SCOPES)
    item = lead.call("POST", "/projects/helpfulness/next").json()["item"]
    yield server, lead, {"Authorization": f"Bearer {token}"}, item["assignment"]
    server.database.close()


def test_no_request_breaks_the_server(fuzzed):
    server, _, headers, assignment = fuzzed
    schema = schemathesis.openapi.from_asgi("/api/openapi.json", server.app, headers=headers)
    there, turn = {"name": "helpfulness", "id": assignment}, itertools.count()

    def check(case) -> None:
        if next(turn) % 2:  # half of them reach what is there
            case.path_parameters = {name: there.get(name, value) for name, value in case.path_parameters.items()}
        answer = case.call(headers=headers, timeout=300)  # a busy machine is no defect
        assert answer.status_code < 500, f"{case.method} {case.path}: {answer.text}"
        if answer.status_code >= 400:
            assert isinstance(answer.json()["detail"], str)

    few = settings(max_examples=4, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) > 30
    for operation in operations:
        few(given(case=operation.as_strategy())(check))()


STRANGE = ["\0", "a\0b", "\ud800", "\u202e", "😀" * 100, "' OR 1=1 --", "../../etc/passwd", "%00", "\n"]


@pytest.mark.parametrize("text", STRANGE, ids=ascii)
def test_strange_texts_are_kept_or_refused(anywhere: Server, text: str):
    anywhere.project()
    lead = anywhere.person("lead", "lead")
    item = lead.call("POST", "/projects/helpfulness/next").json()["item"]

    def call(method: str, path: str, body: object) -> int:
        content = json.dumps(body)  # with escapes: the client's library would refuse lone surrogates
        headers = {"Content-Type": "application/json"}
        status: int = lead.client.request(method, f"/api{path}", content=content, headers=headers).status_code
        return status

    path = f"/assignments/{item['assignment']}"
    assert call("PUT", f"{path}/draft", {"draft": {text: text}}) in (200, 422)
    assert call("POST", "/invitations", {"role": "annotator", "profile": {"country": text}}) in (201, 422)
    tasks = [{"prompt": f"Q {text}", "answers": [text, "b"], "tags": [text]}]
    other = PROJECT.replace("name: helpfulness", "name: other")
    assert call("POST", "/projects", {"text": other, "tasks": tasks}) in (201, 422)
    assert call("POST", "/tokens", {"name": text, "scopes": ["read"]}) in (201, 422)
    assert call("POST", f"{path}/skip", {"why": text, "flag": True}) in (204, 422)
    assert call("POST", "/sign-in", {"name": text, "password": text}) in (401, 422)
    assert call("POST", "/projects/helpfulness/close", {"why": text}) in (204, 422)
    if text.isprintable() and "/" not in text:
        assert lead.call("POST", f"/projects/{text}/next").status_code in (404, 422)
    assert lead.call("POST", "/projects/%00/next").status_code in (404, 422)
    assert anywhere.database.ledger.verify().ok


@pytest.mark.parametrize(
    "text",
    [
        "[" * 3000,
        "a: " * 3000,
        "a: &a [x, x, x, x, x, x, x, x, x]\n"
        + "".join(f"{c}: &{c} [{', '.join([f'*{b}'] * 9)}]\n" for b, c in zip("abcdefgh", "bcdefghi", strict=True)),
        "!!python/object/apply:os.system [echo]",
        PROJECT.replace("name: helpfulness", "name: ../../outside"),
        PROJECT + "\0",
    ],
    ids=["nested", "keys", "laughs", "object", "path", "nul"],
)
def test_hostile_projects_are_refused_in_one_sentence(server: Server, text: str):
    lead = server.person("lead", "lead")
    said = lead.call("POST", "/projects", {"text": text, "tasks": [{"prompt": "Q?", "answers": ["a", "b"]}]})
    assert said.status_code == 422
    assert said.json()["detail"].count("\n") == 0


def test_a_projects_file_of_tasks_is_not_read_over_the_api(server: Server):
    lead = server.person("lead", "lead")
    text = PROJECT.replace("tasks: tasks.jsonl ", "tasks: /etc/passwd ")
    assert lead.call("POST", "/projects", {"text": text, "tasks": []}).status_code == 422
    assert "root:" not in lead.call("GET", "/projects/helpfulness/judgments").text


def test_imports_cannot_leave_their_folder(server: Server, tmp_path: Path):
    server.project()
    lead = server.person("lead", "lead")
    row = json.dumps({"prompt": "Q?", "chosen": "a", "rejected": "b"})
    path = "/projects/helpfulness/import"
    for ending in ("/../../x.jsonl", "../x.jsonl", ".jsonl\0", "", ".exe"):
        assert lead.call("POST", path, {"content": row, "ending": ending}).status_code == 422
    assert lead.call("POST", "/projects/..%2F..%2Fx/import", {"content": row}).status_code == 404
    wrong = lead.call("POST", path, {"content": "{", "ending": ".jsonl"})
    assert wrong.status_code == 422
    assert "/tmp" not in wrong.json()["detail"]  # where the server keeps things is nobody's business
    assert lead.call("POST", path, {"content": row}).json() == {"judgments": 1}


def test_an_export_holds_plain_names(server: Server):
    server.project()
    ann, reviewer = server.person("ann"), server.person("rev", "reviewer")
    better_left(ann, ann.call("POST", "/projects/helpfulness/next").json()["item"])
    answer = reviewer.call("GET", "/projects/helpfulness/export/trl")
    names = zipfile.ZipFile(io.BytesIO(answer.content)).namelist()
    assert names == ["judgments.jsonl", "preferences.jsonl", "aggregated.jsonl"]
    assert reviewer.call("GET", "/projects/helpfulness/export/..%2Ftrl").status_code in (404, 422)
    assert ann.call("GET", "/projects/helpfulness/export/trl").status_code == 403


def test_every_body_refuses_what_it_does_not_name():
    bodies = {body for found in Body.__subclasses__() for body in (found, *found.__subclasses__())}
    assert bodies
    assert all(body.model_config["extra"] == "forbid" and body.model_config["strict"] for body in bodies)
