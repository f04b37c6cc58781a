"""A project that has members is for them, and for leads and auditors."""

from __future__ import annotations

from web_server import PROJECT, Server, better_left

MEMBERS = "/projects/secret/members"


def test_nobody_else_sees_a_project_that_has_members(anywhere: Server):
    anywhere.project()
    anywhere.project(PROJECT.replace("name: helpfulness", "name: secret"))
    lead, auditor = anywhere.person("lead", "lead"), anywhere.person("aud", "auditor")
    ann, eve, rev = anywhere.person("ann"), anywhere.person("eve"), anywhere.person("rev", "reviewer")

    def sees(person) -> list[str]:
        return sorted(project["name"] for project in person.call("GET", "/projects").json())

    assert sees(eve) == ["helpfulness", "secret"]  # as long as it has no members
    held = eve.call("POST", "/projects/secret/next").json()["item"]
    assert lead.call("POST", MEMBERS, {"account": ann.account}).status_code == 204
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
