"""A project is for its members, and for leads and auditors."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from web_server import PROJECT, Server, better_left

from custodes.feedback.items import items_from_rows
from custodes.feedback.project import TEMPLATE, parse_project
from custodes.web.database import ServerDatabase
from custodes.web.projects import create_project

MEMBERS = "/projects/secret/members"


def sees(person) -> list[str]:
    return sorted(project["name"] for project in person.call("GET", "/projects").json())


def test_nobody_else_sees_a_project_but_its_members(anywhere: Server):
    anywhere.project()
    anywhere.project(PROJECT.replace("name: helpfulness", "name: secret"))
    lead, auditor = anywhere.person("lead", "lead"), anywhere.person("aud", "auditor")
    ann, eve, rev = anywhere.person("ann"), anywhere.person("eve"), anywhere.person("rev", "reviewer")

    assert sees(eve) == ["helpfulness", "secret"]  # its file says: everybody
    assert lead.call("GET", MEMBERS).json() == ["everybody"]
    held = eve.call("POST", "/projects/secret/next").json()["item"]
    assert lead.call("POST", MEMBERS, {"account": ann.account}).status_code == 204
    assert sees(eve) == ["helpfulness", "secret"]
    assert lead.call("POST", MEMBERS, {"account": "everybody", "remove": True}).status_code == 204
    assert lead.call("GET", MEMBERS).json() == [ann.account]
    assert sees(eve) == sees(rev) == ["helpfulness"]
    assert sees(ann) == sees(lead) == sees(auditor) == ["helpfulness", "secret"]
    assert ann.call("POST", "/projects/secret/next").json()["item"] is not None
    for person, method, path in (
        (eve, "POST", "next"),
        (eve, "GET", "last"),
        (rev, "POST", "next"),
        (rev, "GET", "progress"),
        (rev, "GET", "judgments"),
        (rev, "GET", "export/trl"),
    ):
        refused = person.call(method, f"/projects/secret/{path}")
        assert refused.status_code == 404, path
        assert refused.json()["detail"] == "there is no project 'secret'."  # as for one that is not there
    assert better_left(eve, held).status_code == 201  # what lies before somebody may be finished
    assert auditor.call("GET", "/projects/secret/progress").status_code == 200
    assert lead.call("POST", MEMBERS, {"account": ann.account}).status_code == 422
    assert lead.call("POST", MEMBERS, {"account": "nobody"}).status_code == 404
    assert lead.call("POST", MEMBERS, {"account": ann.account, "remove": True}).status_code == 204
    assert lead.call("POST", MEMBERS, {"account": ann.account, "remove": True}).status_code == 422
    assert "access: member added" in [entry["what"] for entry in lead.call("GET", "/access").json()]
    assert sees(ann) == ["helpfulness"]  # the last member gone, it is for nobody and not for all
    assert lead.call("POST", MEMBERS, {"account": "everybody"}).status_code == 204
    assert sees(ann) == sees(eve) == ["helpfulness", "secret"]


def test_a_project_is_for_its_members_unless_its_file_says_otherwise(anywhere: Server):
    lead, ann = anywhere.person("lead", "lead"), anywhere.person("ann")
    tasks = [{"prompt": "Question?", "answers": ["good", "evil"]}]
    assert lead.call("POST", "/projects", {"text": TEMPLATE, "tasks": tasks}).status_code == 201
    assert (sees(lead), sees(ann)) == (["helpfulness"], [])
    assert lead.call("GET", "/projects/helpfulness/members").json() == [lead.account]  # who opened it
    text = TEMPLATE.replace("name: helpfulness", "name: filed")
    create_project(anywhere.database, text, items_from_rows(parse_project(text), tasks), "command line")
    assert lead.call("GET", "/projects/filed/members").json() == []
    assert sees(ann) == []


def test_projects_of_an_old_database_stay_as_they_were_and_that_is_said_once(tmp_path):
    where = tmp_path / "custodes.db"
    server = Server(str(where))
    ann = server.person("ann")
    for name in ("open", "closed", "other"):
        server.project(PROJECT.replace("name: helpfulness", f"name: {name}"))
    with server.database.writing() as connection:  # as 0.1 left it: members of one project alone
        connection.execute(text("DELETE FROM web_members"))
        connection.execute(text("INSERT INTO web_members VALUES ('closed', :ann)"), {"ann": ann.account})
        connection.execute(text("UPDATE web_version SET version_num = '0006'"))
    server.database.close()
    with pytest.warns(UserWarning, match="2 projects that had no members stay open to everybody with an account"):
        again = ServerDatabase(where)
    with again.reading() as connection:
        rows = set(connection.execute(text("SELECT project, account FROM web_members")).tuples())
    again.close()
    assert rows == {("open", "everybody"), ("other", "everybody"), ("closed", ann.account)}
